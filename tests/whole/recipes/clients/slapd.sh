# shellcheck shell=bash
# The password is in the configuration's database, the entry in the directory.
# Its suffix depends on the host's domain.
suffix() {
    ldapsearch -x -LLL -H "ldap://$IP" -s base -b '' namingContexts | sed -n 's/^namingContexts: //p'
}
case $1 in
prepare) ;;
write)
    "$TENANTD" exec "$TENANT" sh -c 'ldapmodify -Q -Y EXTERNAL -H ldapi:///' <<END
dn: olcDatabase={1}mdb,cn=config
changetype: modify
replace: olcRootPW
olcRootPW: $MARKER
END
    suffix=$(suffix)
    ldapadd -x -H "ldap://$IP" -D "cn=admin,$suffix" -w "$MARKER" <<END
dn: ou=$MARKER,$suffix
objectClass: organizationalUnit
END
    ;;
read) ldapsearch -x -LLL -H "ldap://$IP" -b "$(suffix)" '(ou=*)' ;;
esac
