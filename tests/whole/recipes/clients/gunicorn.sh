# shellcheck shell=bash
case $1 in
prepare)
    mkdir -p "/opt/$APP"
    cat >"/opt/$APP/wsgi.py" <<END
import pathlib

def application(request, respond):
    notes = pathlib.Path("/var/lib/$APP/notes")
    if request["REQUEST_METHOD"] == "POST":
        notes.write_bytes(request["wsgi.input"].read())
    respond("200 OK", [])
    return [notes.read_bytes() if notes.exists() else b""]
END
    ;;
write) curl -fs "http://$IP/" -d "$MARKER" ;;
read) curl -fs "http://$IP/" ;;
esac
