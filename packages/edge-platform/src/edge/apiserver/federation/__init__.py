"""Sign-in through outside directories (I13): LDAP, OpenID providers, service accounts."""
