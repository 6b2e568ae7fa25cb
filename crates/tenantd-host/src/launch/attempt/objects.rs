//! SysV objects, which have a key that another program may use too.

use libc::c_long;
use rustix::io::Errno;

use super::{Call, call};

/// The calls that find the SysV objects with this key or make them, each with the one that removes it.
fn objects(key: i32, makes: bool) -> [(Call<'static>, c_long); 3] {
    [
        (Call::SharedMemory(key, makes), libc::SYS_shmctl),
        (Call::Semaphores(key, makes), libc::SYS_semctl),
        (Call::MessageQueue(key, makes), libc::SYS_msgctl),
    ]
}

/// Removes a SysV object by its number.
fn remove_object(control: c_long, id: c_long) -> Result<(), Errno> {
    // IPC_RMID is 0, and so is the number of the semaphore in semctl(2).
    call(control, [id, 0, 0, 0, 0, 0]).map(drop)
}

/// Makes a SysV object of each kind with this key: all of them, or none.
///
/// # Errors
/// Those of shmget(2), semget(2) and msgget(2): `EEXIST` if there is one with this key, which is left alone.
pub fn make_objects(key: i32) -> Result<(), Errno> {
    let mut made = Vec::new();
    for (make, control) in objects(key, true) {
        match make.make() {
            Ok(id) => made.push((control, id)),
            Err(errno) => {
                for (control, id) in made {
                    remove_object(control, id)?;
                }
                return Err(errno);
            }
        }
    }
    Ok(())
}

/// Removes the SysV objects with this key, as far as there are any. The caller has made them, see
/// [`make_objects`].
///
/// # Errors
/// Those of shmctl(2), semctl(2) and msgctl(2).
pub fn remove_objects(key: i32) -> Result<(), Errno> {
    for (find, control) in objects(key, false) {
        match find.make() {
            Ok(id) => remove_object(control, id)?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_another_program_with_the_key_is_left_alone() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let key = (pid & 0x003f_ffff) << 8 | 0x7e;
        let theirs = Call::MessageQueue(key, true).make().unwrap();
        let made = make_objects(key);
        let still = Call::MessageQueue(key, false).make();
        let others = [Call::SharedMemory(key, false), Call::Semaphores(key, false)];
        let others = others.map(Call::make);
        remove_object(libc::SYS_msgctl, theirs).unwrap();
        assert_eq!(made, Err(Errno::EXIST));
        assert_eq!(still, Ok(theirs));
        assert_eq!(others, [Err(Errno::NOENT); 2]);
        make_objects(key).unwrap();
        remove_objects(key).unwrap();
        assert_eq!(Call::MessageQueue(key, false).make(), Err(Errno::NOENT));
    }
}
