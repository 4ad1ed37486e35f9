//! Random lines of pg_hba.conf: mostly of the grammar, with something wrong in many.

use super::super::Random;

/// A random line.
pub(super) fn case(random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    if random.once_in(12) {
        junk(random, &mut out);
        out.push(b'\n');
        return out;
    }
    if random.once_in(120) {
        return long(random);
    }
    let connection = random.pick(&[
        "local",
        "host",
        "host",
        "hostssl",
        "hostnossl",
        "hostgssenc",
        "hostnogssenc",
        "\"host\"",
        "LOCAL",
        "hosts",
        "local,host",
        "include",
        "include_if_exists",
        "include_dir",
    ]);
    let mut fields = vec![connection.to_owned(), names(random, DATABASES), names(random, USERS)];
    if !connection.contains("local") || random.once_in(20) {
        fields.push(address(random));
        if random.once_in(6) {
            fields.push(random.pick(MASKS).to_owned());
        }
    }
    let method = random.pick(METHODS);
    fields.push(method.to_owned());
    while !random.once_in(3) && fields.len() < 12 {
        fields.push(match random.below(10) {
            0 => format!("ldapurl=\"{}\"", ldap_url(random)),
            1 => radius(random),
            2 => option(random),
            _ => option_for(random, method),
        });
    }
    if random.once_in(15) {
        let gone = random.below(fields.len());
        fields.remove(gone);
    }
    if random.once_in(10) {
        fields.push("# comment".into());
    }
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            let gap = random.pick(&[" ", " ", " ", "\t", "  ", " \\\n", "\\\r\n ", " , ", "\r"]);
            out.extend_from_slice(if random.once_in(4) { gap.as_bytes() } else { b" " });
        }
        out.extend_from_slice(field.as_bytes());
    }
    if random.once_in(25) {
        let place = random.below(out.len());
        out.insert(place, *b"\"#,\\\0\x0b\xff\r".get(random.below(8)).unwrap_or(&b'"'));
    }
    out.extend_from_slice(
        random.pick(&["\n", "\n", "\n", "\n", "\r\n", "\r\r\n", "\\\n"]).as_bytes(),
    );
    out
}

/// A line with a token, a comment or blanks about as long as old servers take them, or as their
/// buffers first are.
fn long(random: &mut Random) -> Vec<u8> {
    const LENGTHS: &[usize] = &[1024, 2048, 10_240, 20_479, 40_958];
    let length = LENGTHS[random.below(LENGTHS.len())] + 2 - random.below(30);
    let many = |byte: &str| byte.repeat(length);
    let rule = random.pick(&["local all all trust", "host all all ::/0 md5", "# x", "\"a b", ""]);
    let line = match random.below(10) {
        0 => format!("local {} all trust", many("a")),
        1 => format!("local \"{}\" all trust", many("a")),
        2 => format!("#{}{rule}", many("c")),
        3 => format!("{}{rule}", many(" ")),
        4 => format!("local {} all trust", "ab,".repeat(length / 3)),
        5 => format!("local all all trust #{}\\\nlocal all", many("c")),
        6 => format!("local all all trust{}{rule}", many("\r")),
        7 => format!("local a{} all trust {rule}", many("\"")),
        8 => format!("local all,x{}#{rule}", many(",")),
        _ => format!("local all all peer map={}x", many("m")),
    };
    let mut line = line.into_bytes();
    if random.once_in(4) {
        let place = line.len() - random.below(line.len().min(40));
        line.insert(place, *b"\0\\\"\n".get(random.below(4)).unwrap_or(&0));
    }
    line.extend_from_slice(random.pick(&["\n", "\r\n", "\r\r\n", "\\\n", " \\\r\n"]).as_bytes());
    line
}

/// An LDAP URL, right or wrong.
fn ldap_url(random: &mut Random) -> String {
    let mut out = String::new();
    for parts in [
        &[
            "ldap://",
            "ldap://",
            "ldap://",
            "ldaps://",
            "LDAP://",
            "ldapi://",
            "ldap:/",
            "http://",
            "<ldap://",
            "URL:ldap://",
            "",
        ][..],
        &["h", "h.example.net", "", "1.2.3.4", "[::1]", "[::1", "h h", "%68", "u@h", "h,g"],
        &["", "", ":389", ":0", ":", ":x", ":-1", ":99999", ":3%38"],
        &["/", "/", "", "//"],
        &["dc=x", "dc=x,dc=y", "", "%41", "%zz", "dc=x%2Cdc=y", "%00"],
        &["", "?", "?uid", "?uid,cn", "?*", "?%75id"],
        &["", "?", "?sub", "?one", "?BASE", "?children", "?bad", "?s%75b"],
        &["", "?", "?(a=b)", "?(a=$username)", "?%28"],
        &["", "", "", "?", "?x", "?!x", "?x?y", ">"],
    ] {
        out.push_str(random.pick(parts));
    }
    out
}

/// A list of the method `radius`, right or wrong.
fn radius(random: &mut Random) -> String {
    const ITEMS: &[&str] = &[
        "127.0.0.1",
        "::1",
        "a",
        "\"\"a b\"\"",
        "1812",
        "0",
        "-1",
        "x1",
        " 7",
        "",
        "a b",
        "localhost",
        "[::1]",
        "s\"\"t",
    ];
    let name = random.pick(&["radiusservers", "radiussecrets", "radiusports", "radiusidentifiers"]);
    let items: Vec<_> = (0..=random.below(3)).map(|_| random.pick(ITEMS)).collect();
    format!("{name}=\"{}\"", items.join(random.pick(&[",", ",", ", ", " ,", ";"])))
}

/// A random line of pg_ident.conf, without its line end.
pub(super) fn mapping(random: &mut Random) -> String {
    const FIELDS: &[&str] = &[
        "m", "root", "all", "\"all\"", "+grp", "/^(.*)$", "/(", "\"/a b\"", "\\1", "x\\1", "a,b",
        "\"a,b\"", "\"\"", "/a{1", "@", "a#b", "\u{e9}", "/", "/***x", "/(?i)a", "/\\2", "b\\",
    ];
    let fields = [3, 3, 3, 3, 3, 3, 2, 4][random.below(8)];
    let fields: Vec<_> = (0..fields)
        .map(|_| match random.below(6) {
            0 => regex(random),
            _ => random.pick(FIELDS).to_owned(),
        })
        .collect();
    fields.join(random.pick(&[" ", " ", "\t", "  "]))
}

fn junk(random: &mut Random, out: &mut Vec<u8>) {
    const BYTES: &[u8] = b" \t\r\"#,\\@+/a=local trust\x00\xc3\xa9\xff\xef\xbb\xbf";
    for _ in 0..random.below(40) {
        out.push(BYTES[random.below(BYTES.len())]);
    }
}

const DATABASES: &[&str] = &[
    "all",
    "app",
    "sameuser",
    "samerole",
    "samegroup",
    "replication",
    "\"all\"",
    "\"a b\"",
    "@nosuch",
    "+x",
    "\"\"",
    "ALL",
    "a\"ll\"",
    "x#y",
    "\"x#y\"",
    "\"a\"\"b\"",
    "@",
    "/^a",
    "/(",
    "/a{1",
    "\u{e9}",
];
const USERS: &[&str] = &[
    "all",
    "alice",
    "+grp",
    "+\"my grp\"",
    "\"+grp\"",
    "\"all\"",
    "\"a, b\"",
    "@nosuch",
    "+",
    "/^al",
    "/[",
    "/*",
    "\"/^(a|b)$\"",
    "bob\"",
];
const MASKS: &[&str] = &[
    "255.255.255.0",
    "255.0.255.0",
    "24",
    "ffff::",
    "bogus",
    "0.0.0.0",
    "\"\"",
    "0xff000000",
    "255.0.0.0,255.255.0.0",
    "255.0.0.0/8",
    "256.0.0.0",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];
const METHODS: &[&str] = &[
    "trust",
    "reject",
    "md5",
    "password",
    "scram-sha-256",
    "peer",
    "ident",
    "cert",
    "gss",
    "sspi",
    "pam",
    "ldap",
    "radius",
    "bsd",
    "oauth",
    "krb5",
    "TRUST",
    "\"md5\"",
    "trust,md5",
    "",
    "implicit reject",
];

fn names(random: &mut Random, from: &[&str]) -> String {
    let mut out = match random.below(8) {
        0 => regex(random),
        _ => random.pick(from).to_owned(),
    };
    while random.once_in(3) {
        out.push_str(random.pick(&[",", ",", ",", ", ", ",,"]));
        out.push_str(random.pick(from));
    }
    out
}

/// A regular expression in quotes, right or wrong.
pub(super) fn regex(random: &mut Random) -> String {
    const PARTS: &[&str] = &[
        "a",
        "b",
        ".",
        "^",
        "$",
        "*",
        "+",
        "?",
        "|",
        "(",
        ")",
        "(?:",
        "(?=",
        "(?!",
        "(?<=",
        "(?i)",
        "(?#c)",
        "[",
        "]",
        "[a-z]",
        "[^a]",
        "[z-a]",
        "[[:alpha:]]",
        "[[:bogus:]]",
        "[[.a.]]",
        "[[.space.]]",
        "[[=a=]]",
        "[a-",
        "[]a]",
        "[[:<:]]",
        "{",
        "{1}",
        "{1,2}",
        "{2,1}",
        "{1,}",
        "{256}",
        "{1,2",
        "\\d",
        "\\w",
        "\\m",
        "\\y",
        "\\1",
        "\\2",
        "\\10",
        "\\x41",
        "\\x",
        "\\u00e9",
        "\\u12",
        "\\q",
        "\\0",
        "\\",
        "***:",
        "***=",
        "***x",
        "(?e)",
        "(?b)",
        "(?q)",
        "(?x)",
        "(?z)",
        "*?",
        "+?",
        "??",
        "{1,2}?",
        "-",
        "[\\d]",
        "[\\W]",
        "[\\m]",
        "[a-\\d]",
        "[[.nosuch.]]",
        "\\cA",
        "\\B",
        "\\A",
        "\\Z",
    ];
    let mut out = String::from("\"/");
    for _ in 0..=random.below(5) {
        out.push_str(random.pick(PARTS));
    }
    out.push('"');
    out
}

fn address(random: &mut Random) -> String {
    if random.once_in(3) {
        return random
            .pick(&[
                "all",
                "samehost",
                "samenet",
                "\"all\"",
                "ALL",
                "example.com",
                ".example.com",
                "",
                "\"\"",
                "ho$t!",
                "[::1]/128",
                "10/8",
                "10.1/16",
                "010.0.0.1/32",
                "0x0a000001/32",
                "167772161/32",
                "256.1.1.1/32",
                "1.2.3.4.5/32",
                "fe80::1%lo/64",
                "fe80::1%1/64",
                "fe80::1%x/64",
                "::1%1",
                "10.0.0.1,10.0.0.2",
                "all/0",
                "1.2.3.4",
                "::1",
                "/",
                "\"10.0.0.0/ 8\"",
                "::ffff:1.2.3.4/128",
                "1::2::3/64",
                "::1.2.3.4/96",
                "1:2:3:4:5:6:7::/112",
                "08.1.1.1/8",
                "1.2.3.4/",
                "fe80::1%0/64",
                "fe80::1%4294967296/64",
                "ff02::1%lo/128",
                "2001:db8::1%lo/64",
                "127.0.0.1%lo/32",
                "::ffff:1.2.3.4/32",
                "1.2.3.4/+032",
                "1.2.3.4/00000000000000000000000032",
                "1.2.3.4/4294967296",
                "1.2.65536/32",
                "1.16777215/8",
                "0/0",
                "::/0",
                "a..b",
                "h\u{e9}.example",
                "samehost,samenet",
                "@nosuch",
                "/",
            ])
            .to_owned();
    }
    let bits =
        random.pick(&["0", "8", "24", "32", "33", "128", "129", "-1", "+8", "024", "8x", "0x8"]);
    if random.once_in(2) {
        let octet = |random: &mut Random| random.below(260);
        let (a, b, c, d) = (octet(random), octet(random), octet(random), octet(random));
        return format!("{a}.{b}.{c}.{d}/{bits}");
    }
    let groups: Vec<String> = (0..8)
        .map(|_| if random.once_in(2) { "0".into() } else { format!("{:x}", random.below(70_000)) })
        .collect();
    format!("{}/{bits}", groups.join(":"))
}

const OPTIONS: &[&str] = &[
    "map=m",
    "map=",
    "map",
    "map=\"a b\"",
    "clientcert=verify-full",
    "clientcert=verify-ca",
    "clientcert=1",
    "clientcert=0",
    "clientcert=no-verify",
    "clientcert=x",
    "clientname=CN",
    "clientname=DN",
    "clientname=x",
    "pamservice=x",
    "pam_use_hostname=1",
    "include_realm=0",
    "include_realm=1",
    "krb_realm=R",
    "compat_realm=1",
    "upn_username=1",
    "ldapserver=h",
    "ldapserver=\"a b\"",
    "ldapport=389",
    "ldapport=x",
    "ldapport=-1",
    "ldaptls=1",
    "ldapscheme=ldaps",
    "ldapscheme=x",
    "ldapprefix=\"cn=\"",
    "ldapsuffix=x",
    "ldapbasedn=x",
    "ldapbasedn=\"dc=x,dc=y\"",
    "ldapbinddn=x",
    "ldapbindpasswd=x",
    "ldapsearchattribute=uid",
    "ldapsearchfilter=\"(a=$username)\"",
    "ldapurl=\"ldap://h/dc=x?uid?sub\"",
    "ldapurl=\"ldap://h:99/dc=x??one?(a=b)\"",
    "ldapurl=ldap://",
    "ldapurl=http://x",
    "ldapurl=\"ldap://[::1]:389/x\"",
    "ldapurl=\"ldap://h/x??bad\"",
    "ldapurl=",
    "ldapurl=ldaps://h",
    "ldapurl=ldapi://x",
    "ldapurl=\"ldap://h/%41%zz\"",
    "ldapurl=\"<ldap://h/>\"",
    "radiusservers=127.0.0.1",
    "radiusservers=\"127.0.0.1,::1\"",
    "radiusservers=\"\"",
    "radiusservers=\"a b\"",
    "radiussecrets=s",
    "radiussecrets=\"a,b\"",
    "radiussecrets=\"a,\"",
    "radiusports=1812",
    "radiusports=\"1,2\"",
    "radiusports=x",
    "radiusports=\"1,\"",
    "radiusidentifiers=i",
    "radiusidentifiers=\"a,,b\"",
    "issuer=x",
    "scope=x",
    "validator=x",
    "delegate_ident_mapping=1",
    "bogus=1",
    "=x",
    "MAP=m",
    "foo",
    "map=a,b",
    "\"map=a,b\"",
    "@nosuch",
    "clientcert=",
    "clientcert=\"verify-ca \"",
    "clientname=",
    "include_realm=",
    "ldapport=+5x",
    "ldapport=99999999999",
    "ldapscheme=",
    "ldapprefix=",
    "ldapbasedn=",
    "ldaptls=2",
    "pamservice=",
    "krb_realm=",
    "issuer=",
    "scope=\"a b\"",
    "delegate_ident_mapping=0",
    "validator=one",
    "map=\"a#b\"",
    "map=a#b",
    "\"map\"=m",
    "ma\"p=\"m",
    "map==",
    "clientcert=\"verify-full\"",
    "clientcert=Verify-Full",
    "clientcert=verify-full,clientname=DN",
    "clientname=\"DN\"",
    "clientname=dn",
    "ldapsearchfilter=(a=b),(c=d)",
    "ldapsearchfilter=",
    "ldapsuffix=",
    "ldapbinddn=",
    "ldapbindpasswd=\"a#b\"",
    "ldapport= 389",
    "ldapport=\" 389\"",
    "radiusservers=",
    "radiussecrets=",
    "radiussecrets=\" \"",
    "radiusports=\"1812, 1813 \"",
    "radiusports=99999",
    "radiusidentifiers=\"\"\"a b\"\"\"",
    "issuer=\"\"",
    "scope=",
    "validator=",
    "validator=two",
    "delegate_ident_mapping=yes",
    "pam_use_hostname=0",
    "pam_use_hostname=on",
    "include_realm=true",
    "compat_realm=0",
    "upn_username=0",
];

fn option(random: &mut Random) -> String {
    random.pick(OPTIONS).to_owned()
}

/// An option of a method, if it has some: what they say together is checked only if each is good.
fn option_for(random: &mut Random, method: &str) -> String {
    let starts: &[&str] = match method {
        "ldap" => &["ldap"],
        "radius" => &["radius"],
        "cert" | "\"md5\"" => &["clientcert", "clientname", "map"],
        "oauth" => &["issuer", "scope", "validator", "delegate", "map"],
        "gss" | "sspi" => &["include_realm", "krb_realm", "compat", "upn", "map"],
        "pam" => &["pam"],
        "peer" | "ident" => &["map"],
        _ => return option(random),
    };
    loop {
        let option = option(random);
        if starts.iter().any(|start| option.starts_with(start)) {
            return option;
        }
    }
}
