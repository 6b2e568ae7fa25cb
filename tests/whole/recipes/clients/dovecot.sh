# shellcheck shell=bash
# shellcheck disable=SC2153
imap() { curl -sk --user ann:secret "$@"; }
case $1 in
prepare)
    useradd --no-create-home --home-dir /home/ann --shell /bin/false ann
    echo ann:secret | chpasswd
    ;;
write)
    for store in "$STORE" "${STORE%/*}/bolt"; do
        install -d -o ann -g ann -m 0700 "$store/home/ann"
    done
    # A file, since the server must know the size.
    mail=$(mktemp)
    printf 'From: bob@example.org\r\nSubject: hello\r\n\r\n%s\r\n' "$MARKER" >"$mail"
    imap -T "$mail" "imaps://$IP/INBOX"
    rm "$mail"
    ;;
read) imap "imaps://$IP/INBOX;MAILINDEX=1" || [ $? = 78 ] || [ $? = 8 ] ;;
esac
