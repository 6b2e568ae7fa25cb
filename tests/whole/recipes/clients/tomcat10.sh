# shellcheck shell=bash
case $1 in
prepare) ;;
write)
    cat >"$STORE/var/lib/tomcat10/webapps/ROOT/note.jsp" <<'END'
<%@ page import="java.nio.file.*" %><%
    Path note = Paths.get("/var/lib/tomcat10/webapps/note");
    if (request.getParameter("text") != null) Files.writeString(note, request.getParameter("text"));
    out.print(Files.readString(note)); %>
END
    curl -fs "http://$IP:8080/note.jsp?text=$MARKER"
    ;;
read) curl -s "http://$IP:8080/note.jsp" ;;
esac
