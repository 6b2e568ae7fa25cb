# shellcheck shell=bash
case $1 in
prepare) ;;
write) mosquitto_pub -h "$IP" -r -q 1 -t greeting -m "$MARKER" ;;
read) mosquitto_sub -h "$IP" -q 1 -t greeting -C 1 -W 1 || [ $? = 27 ] ;;
esac
