# shellcheck shell=bash
inside() { "$TENANTD" exec "$TENANT" "$@"; }
case $1 in
prepare) ;;
write)
    inside amqp-declare-queue -d -q greetings
    inside amqp-publish -p -r greetings -b "$MARKER"
    ;;
read)
    # The message is taken and put back.
    body=$(inside amqp-get -q greetings) || exit 0
    inside amqp-publish -p -r greetings -b "$body"
    echo "$body"
    ;;
esac
