//! EDB's page on securing inter-node connections (document 004), followed to the letter with
//! certificates.

use super::{Ca, Node, PgdMesh, Result};

/// The role of the page.
pub const ROLE: &str = "pgd_replication";
/// What the page puts into `postgresql.conf`.
pub const SSL_ON: &str = "ssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\n";
/// What the page adds to the nodes' connection strings.
pub const CERT: &str =
    "sslmode=verify-full sslcert=bdr_client.crt sslkey=bdr_client.key sslrootcert=root.crt";

/// The files that the page wants in each data directory.
pub fn provide_certificates(mesh: &PgdMesh, ca: &Ca) -> Result {
    let client = ca.client(ROLE)?;
    for node in mesh.nodes() {
        let (host, address) = (node.host(), node.address());
        let names = [format!("DNS:{host}"), format!("IP:{address}"), format!("DNS:{address}")];
        let server = ca.server(&host, &names.each_ref().map(String::as_str))?;
        node.write("server.crt", server.cert.as_bytes(), 0o644)?;
        node.write("server.key", server.key.as_bytes(), 0o600)?;
        node.write("bdr_client.crt", client.cert.as_bytes(), 0o644)?;
        node.write("bdr_client.key", client.key.as_bytes(), 0o600)?;
        node.write("root.crt", ca.cert.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// The lines for `pg_hba.conf`.
pub fn lines(mesh: &PgdMesh, method: &str) -> String {
    let network = mesh.site().peers_from();
    format!(
        "hostssl all         {ROLE} {network} {method}\n\
         hostssl replication {ROLE} {network} {method}\n"
    )
}

/// Gives the connection strings the page's role and these parameters.
pub fn switch(mesh: &PgdMesh, parameters: &str) -> Result {
    mesh.alter_interfaces(|_, dsn| {
        format!("{} {parameters}", dsn.replace("user=postgres", &format!("user={ROLE}")))
    })
}

/// Does something on each node.
pub fn each(mesh: &PgdMesh, what: impl Fn(&Node) -> Result) -> Result {
    mesh.nodes().iter().try_for_each(|node| what(node))
}

/// The whole page, on a group whose links run as `postgres`.
pub fn follow(mesh: &PgdMesh, ca: &Ca) -> Result {
    mesh.create_role(ROLE)?;
    provide_certificates(mesh, ca)?;
    each(mesh, |node| {
        node.edit_conf(SSL_ON)?;
        Ok(node.server().restart()?)
    })?;
    switch(mesh, CERT)?;
    each(mesh, |node| {
        node.edit_hba("", &lines(mesh, "cert"))?;
        node.reload()
    })?;
    mesh.wait_linked()
}
