# shellcheck shell=bash
# shellcheck disable=SC2016
case $1 in
prepare)
    useradd --no-create-home --home-dir /home/ann --shell /bin/false ann
    newaliases
    ;;
write)
    printf 'From: bob@example.org\r\nSubject: hello\r\n\r\n%s\r\n' "$MARKER" |
        curl -s --mail-from bob@example.org --mail-rcpt ann@localhost -T - "smtp://$IP"
    # It is delivered a moment later.
    timeout 20 bash -c 'until [ -s "$STORE/var/mail/ann" ]; do :; done'
    ;;
read) cat "$STORE/var/mail/ann" 2>/dev/null || true ;;
esac
