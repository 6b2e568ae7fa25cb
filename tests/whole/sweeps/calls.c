// Makes every system call with several kinds of arguments, each in a process of its own that lives for a
// moment at most. Says "swept" at the end, and stays until it is told to stop.

#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CALLS = 471, PATTERNS = 5, AT_ONCE = 64 };

static char zeros[4096];
static char path[4096] = "/tmp/sweep";

// What a tenant shares with the host and may leave there, or must not wait for. reboot(2) and the like are
// refused: no tenant has the capabilities.
static int is_left_out(long number) {
    switch (number) {
    case SYS_shmget: case SYS_msgget: case SYS_semget: // They outlive every process.
    case SYS_sync: case SYS_syncfs: case SYS_fsync: case SYS_fdatasync: // They wait for the host's disks.
        return 1;
    default:
        return 0;
    }
}

static void one(long number, int pattern) {
    // It ends by this signal if the call does not return.
    struct itimerval moment = {.it_value = {.tv_usec = 200000}};
    setitimer(ITIMER_REAL, &moment, NULL);
    long zero = 0, one = 1, minus = -1, buffer = (long)zeros, name = (long)path;
    switch (pattern) {
    case 0: syscall(number, zero, zero, zero, zero, zero, zero); break;
    case 1: syscall(number, minus, minus, minus, minus, minus, minus); break;
    case 2: syscall(number, buffer, buffer, buffer, buffer, buffer, buffer); break;
    case 3: syscall(number, one, buffer, 8L, zero, zero, zero); break;
    default: syscall(number, name, name, 0600L, zero, zero, zero); break;
    }
    // The number itself: exit(2) may be among those that are refused.
    syscall(SYS_exit_group, 0);
    _exit(0);
}

// Ends what is left of some children: one that has stopped itself, or whose timer the call has taken away.
static void reap(pid_t *children, int count) {
    for (int round = 0, left = count; left > 0; round++) {
        left = 0;
        for (int index = 0; index < count; index++) {
            if (children[index] == 0) continue;
            int status;
            if (waitpid(children[index], &status, WNOHANG) == children[index]) children[index] = 0;
            else left++;
            if (children[index] != 0 && round == 50) kill(children[index], SIGKILL);
        }
        if (left > 0) usleep(10000);
    }
}

int main(void) {
    pid_t children[AT_ONCE];
    for (int call = 0; call < CALLS * PATTERNS; call += AT_ONCE) {
        int count = 0;
        for (int next = call; next < call + AT_ONCE && next < CALLS * PATTERNS; next++) {
            if (is_left_out(next / PATTERNS)) continue;
            pid_t pid = fork();
            if (pid == 0) one(next / PATTERNS, next % PATTERNS);
            if (pid > 0) children[count++] = pid;
        }
        reap(children, count);
    }
    printf("swept\n");
    fflush(stdout);
    pause();
}
