//! Ids that tell a tenant apart and say nothing about its host, see machine-id(5).
//!
//! They are derived as by sd_id128_get_machine_app_specific(3): HMAC-SHA256 (RFC 2104, FIPS 180-4), of which the
//! first half is taken, keyed by the host's id. So the same tenant has the same id as long as the host has its own, and
//! nobody finds the host's from it.

/// The bytes of an id.
pub type Id = [u8; 16];

/// Parses an id of 32 hexadecimal digits, with or without the dashes of a UUID.
#[must_use]
pub fn parse(text: &str) -> Option<Id> {
    let digits: String = text.trim().chars().filter(|it| *it != '-').collect();
    if digits.len() != 32 || !digits.bytes().all(|it| it.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(&digits, 16)
        .ok()
        .map(u128::to_be_bytes)
}

/// The id that takes the place of the host's for what `label` names.
#[must_use]
pub fn derived(host: Id, label: &str) -> Id {
    let [a, b, c, d, ..] = hmac(&host, label.as_bytes());
    let mut id = u128::from(a) << 96 | u128::from(b) << 64 | u128::from(c) << 32 | u128::from(d);
    // A random UUID, version 4 of RFC 9562.
    id = id & !(0xf << 76) | 0x4 << 76;
    id = id & !(0x3 << 62) | 0x2 << 62;
    id.to_be_bytes()
}

/// The id as 32 hexadecimal digits, as in /etc/machine-id.
#[must_use]
pub fn plain(id: Id) -> String {
    format!("{:032x}", u128::from_be_bytes(id))
}

/// The id as a UUID, as in /proc/sys/kernel/random/boot_id.
#[must_use]
pub fn dashed(id: Id) -> String {
    let mut text = plain(id);
    for place in [20, 16, 12, 8] {
        text.insert(place, '-');
    }
    text
}

/// The bytes of a block.
const BLOCK: usize = 64;

/// HMAC-SHA256 with a key of at most a block.
fn hmac(key: &[u8], message: &[u8]) -> [u32; 8] {
    let padded = |with: u8| -> Vec<u8> {
        let rest = std::iter::repeat_n(with, BLOCK.saturating_sub(key.len()));
        key.iter().map(|byte| byte ^ with).chain(rest).collect()
    };
    let mut inner = padded(0x36);
    inner.extend_from_slice(message);
    let mut outer = padded(0x5c);
    outer.extend(sha256(&inner).into_iter().flat_map(u32::to_be_bytes));
    sha256(&outer)
}

/// The digest as eight words.
fn sha256(message: &[u8]) -> [u32; 8] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % BLOCK != BLOCK - 8 {
        padded.push(0);
    }
    padded.extend((message.len() as u64 * 8).to_be_bytes());
    padded.chunks_exact(BLOCK).fold(START, compressed)
}

fn compressed(state: [u32; 8], block: &[u8]) -> [u32; 8] {
    let words = block.chunks_exact(4);
    let mut schedule: Vec<u32> = words
        .map(|word| word.iter().fold(0, |all, byte| all << 8 | u32::from(*byte)))
        .collect();
    while let [.., w16, w15, _, _, _, _, _, _, _, w7, _, _, _, _, w2, _] = schedule[..] {
        if schedule.len() == ROUNDS.len() {
            break;
        }
        let s0 = w15.rotate_right(7) ^ w15.rotate_right(18) ^ w15 >> 3;
        let s1 = w2.rotate_right(17) ^ w2.rotate_right(19) ^ w2 >> 10;
        let next = w16.wrapping_add(s0).wrapping_add(w7).wrapping_add(s1);
        schedule.push(next);
    }
    let mut now = state;
    for (constant, word) in ROUNDS.iter().zip(schedule) {
        let [a, b, c, d, e, f, g, h] = now;
        let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = e & f ^ !e & g;
        let t1 = [s1, choice, *constant, word];
        let t1 = t1.into_iter().fold(h, u32::wrapping_add);
        let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let majority = a & b ^ a & c ^ b & c;
        let first = t1.wrapping_add(s0).wrapping_add(majority);
        now = [first, a, b, c, d.wrapping_add(t1), e, f, g];
    }
    for (old, new) in now.iter_mut().zip(state) {
        *old = old.wrapping_add(new);
    }
    now
}

/// The first digest: the square roots of the first eight primes, after the point.
const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The constants of the rounds: the cube roots of the first 64 primes, after the point.
const ROUNDS: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digest: [u32; 8]) -> String {
        digest.iter().map(|word| format!("{word:08x}")).collect()
    }

    /// FIPS 180-4, and each length around the end of a block by its last digest.
    #[test]
    fn digests_are_those_of_the_standard() {
        for (message, expected) in [
            (
                "",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            (
                "abc",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
        ] {
            assert_eq!(hex(sha256(message.as_bytes())), expected, "{message}");
        }
        let longest: Vec<u8> = (0..=129).fold(Vec::new(), |mut all: Vec<u8>, length| {
            all.truncate(length);
            let digest = sha256(&all);
            all.extend(digest.into_iter().flat_map(u32::to_be_bytes));
            all
        });
        assert_eq!(
            hex(sha256(&longest)),
            "c2f9c7f1e1d00850e3d6e65373ef56776130dc7ed86ece7dc74ea80a20c0bd35"
        );
    }

    /// RFC 4231, test case 2.
    #[test]
    fn the_keyed_digest_is_that_of_the_standard() {
        let made = hmac(b"Jefe", b"what do ya want for nothing?");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(made), expected);
    }

    #[test]
    fn an_id_is_derived_as_by_systemd() {
        let host = parse("3d1219c7c4c5404aaa1f6d2a48adfda4\n").unwrap();
        let id = derived(host, "tenantd:wiki/acme");
        assert_eq!(plain(id), "cc4d20c1c874464f85b3974a901a3e72");
        assert_eq!(parse(&dashed(id)), Some(id));
        assert_ne!(derived(host, "tenantd:wiki/globex"), id);
        assert_eq!(dashed(id).len(), 36);
        for wrong in [
            "",
            "uninitialized",
            "3d12",
            "+d1219c7c4c5404aaa1f6d2a48adfda4",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
