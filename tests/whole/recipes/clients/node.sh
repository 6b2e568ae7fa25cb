# shellcheck shell=bash
case $1 in
prepare)
    mkdir -p "/opt/$APP"
    cat >"/opt/$APP/server.js" <<'END'
const fs = require("fs"), http = require("http");
const notes = process.env.DATA + "/notes";
http.createServer((request, response) => {
    console.log(request.method, request.url);
    if (request.method === "POST") {
        request.pipe(fs.createWriteStream(notes)).on("finish", () => response.end());
    } else {
        response.end(fs.existsSync(notes) ? fs.readFileSync(notes) : "");
    }
}).listen(process.env.PORT, process.env.HOST);
END
    ;;
write) curl -fs "http://$IP/" -d "$MARKER" ;;
read) curl -fs "http://$IP/" ;;
esac
