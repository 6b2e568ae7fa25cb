# shellcheck shell=bash
# shellcheck disable=SC2153
case $1 in
prepare) ;;
write)
    for store in "$STORE" "${STORE%/*}/bolt"; do
        cat >"$store/var/www/html/visit.php" <<'END'
<?php session_start();
if (isset($_GET["text"])) $_SESSION["text"] = $_GET["text"];
echo $_SESSION["text"] ?? "nothing";
END
    done
    curl -fs -b PHPSESSID=thesame "http://$IP/visit.php?text=$MARKER"
    ;;
read) curl -fs -b PHPSESSID=thesame "http://$IP/visit.php" ;;
esac
