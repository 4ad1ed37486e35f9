//! Wrong states, each made by hand on a secured cluster: verification must not be green, and must say
//! by a code and in words what is wrong, where, and what to do. What people read of it is in
//! `snapshots/`.
//!
//! | state | where |
//! |---|---|
//! | EDB's page to the letter: its queries are green, every link is trusted | `page` |
//! | new lines behind one that decides; a line that trusts the peers, or the world | `pgd` |
//! | plain text is let in beside TLS | `pgd`, `timescale` |
//! | `ssl_ca_file` is not set; its file is not there, or another's | `pgd`, `timescale` |
//! | a reload that was refused: no mask, `clientcert=1`; one that was forgotten | `pgd` |
//! | a certificate that was not taken: key open to others, key of another | `pgd` |
//! | sessions from before the rules, of links and of others | `pgd` |
//! | a link that is gone; one that will not find its certificate | `pgd` |
//! | a setting that waits for a restart | `pgd` |
//! | a server certificate of another name | `pgd` |
//! | a client certificate of another role, authority or purpose, without key, or none | both |
//! | `ssl` is off, on an access node too | both |
//! | a password file of another mode or owner, in another place, with a comment, a wrong line first | both |
//! | a role without password, with an md5 one, an expired one; without LOGIN, REPLICATION, its group | both |
//! | `verify-ca`, `require`, `prefer`: the password is given away | `pgd` |
//! | a password in a connection string or a user mapping | both |
//! | no certificate of a role, under another name, in another folder; a chain in disorder | `timescale` |
//! | lines for one database only; no prepared transactions | `timescale` |

mod bench;
mod page;
mod pgd;
mod timescale;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;
