// A tenant's program that dies in a way that waitid(2) alone does not show. The first argument says
// how. It announces each step as a line of its output.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *what) {
    printf("%s\n", what);
    fflush(stdout);
}

static void until_told(int signal) {
    sigset_t wanted;
    int got;
    sigemptyset(&wanted);
    sigaddset(&wanted, signal);
    sigprocmask(SIG_BLOCK, &wanted, NULL);
    say("waits");
    sigwait(&wanted, &got);
}

static void *traced_thread(void *stays) {
    if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) say("cannot be traced");
    say("thread is traced");
    while (stays) pause();
    return NULL;
}

static void noticed(int signal) {
    (void)signal;
    static const char text[] = "noticed the window\n";
    (void)!write(1, text, sizeof text - 1);
}

static void *outlives(void *unused) {
    (void)unused;
    usleep(100000);
    until_told(SIGUSR1);
    _exit(6);
}

int main(int count, char **arguments) {
    const char *how = count > 1 ? arguments[1] : "";
    pthread_t thread;
    if (!strcmp(how, "traced-thread")) {
        pthread_create(&thread, NULL, traced_thread, NULL);
        pthread_join(thread, NULL);
        until_told(SIGUSR1);
        _exit(3);
    }
    if (!strcmp(how, "traced-main")) {
        signal(SIGWINCH, noticed);
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        say("is traced");
        for (;;) pause();
    }
    if (!strcmp(how, "traced-exec")) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        execl("/bin/sh", "sh", "-c", "echo executed; exec sleep 1000000", NULL);
    }
    if (!strcmp(how, "tracing")) {
        // Its own child traces it, and keeps it as a zombie.
        int ready[2];
        char byte;
        if (pipe(ready)) _exit(1);
        if (fork() == 0) {
            setsid();
            signal(SIGTERM, SIG_IGN);
            if (ptrace(PTRACE_SEIZE, getppid(), 0, 0)) _exit(1);
            (void)!write(ready[1], "x", 1);
            for (;;) pause();
        }
        (void)!read(ready[0], &byte, 1);
        until_told(SIGUSR1);
        _exit(4);
    }
    if (!strcmp(how, "siblings")) {
        for (int i = 0; i < 100; i++)
            if (syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0) == 0) _exit(i);
        until_told(SIGUSR1);
        _exit(5);
    }
    if (!strcmp(how, "orphans")) {
        for (int i = 0; i < 2; i++) {
            int child = fork();
            if (child == 0) {
                int parent = getpid();
                if (fork() == 0) {
                    while (getppid() == parent) usleep(1000);
                    printf("orphan %d of %d\n", getpid(), getppid());
                    fflush(stdout);
                    for (;;) pause();
                }
                _exit(0);
            }
            waitpid(child, NULL, 0);
        }
        until_told(SIGUSR1);
        _exit(5);
    }
    if (!strcmp(how, "leader")) {
        pthread_create(&thread, NULL, outlives, NULL);
        pthread_exit(NULL);
    }
    if (!strcmp(how, "leaves")) {
        FILE *procs = fopen("/sys/fs/cgroup/cgroup.procs", "w");
        if (procs == NULL || fprintf(procs, "0") < 0 || fclose(procs)) say("cannot leave");
        setsid();
        until_told(SIGUSR1);
        _exit(7);
    }
    return 1;
}
