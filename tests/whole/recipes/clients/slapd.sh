# The password is in the configuration's database, the entry in the directory.
case $1 in
prepare) ;;
write)
    "$TENANTD" exec "$TENANT" sh -c 'ldapmodify -Q -Y EXTERNAL -H ldapi:///' <<END
dn: olcDatabase={1}mdb,cn=config
changetype: modify
replace: olcRootPW
olcRootPW: $MARKER
END
    ldapadd -x -H "ldap://$IP" -D cn=admin,dc=nodomain -w "$MARKER" <<END
dn: ou=$MARKER,dc=nodomain
objectClass: organizationalUnit
END
    ;;
read) ldapsearch -x -LLL -H "ldap://$IP" -b dc=nodomain '(ou=*)' ;;
esac
