//! postgres-protocol's client against our server.

use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use scram::{Channel, EndPoint, Nonce, Password, Secret, Server, ServerError};

fn run(
    channel: Channel,
    binding: ChannelBinding,
    mechanism: &[u8],
    password: &str,
) -> Result<bool, ServerError> {
    let secret = Secret::new(&Password::new("pencil"), b"0123456789abcdef", 4096).unwrap();
    let mut client = ScramSha256::new(password.as_bytes(), binding);
    let server = Server::new(secret, channel);
    let server = server.begin(mechanism, client.message(), &Nonce::random().unwrap())?;
    client.update(server.message()).unwrap();
    let accepted = server.finish(client.message())?;
    client.finish(accepted.message()).unwrap();
    Ok(accepted.is_channel_bound())
}

#[test]
fn logs_in() {
    let tls = || Channel::tls_with(EndPoint::from_hash([9; 32]));
    let bound = || ChannelBinding::tls_server_end_point(vec![9; 32]);
    let (plain, plus) = (&b"SCRAM-SHA-256"[..], &b"SCRAM-SHA-256-PLUS"[..]);
    let run = |channel, binding, mechanism| run(channel, binding, mechanism, "pencil");
    assert_eq!(run(Channel::Plain, ChannelBinding::unsupported(), plain), Ok(false));
    assert_eq!(run(Channel::Plain, ChannelBinding::unrequested(), plain), Ok(false));
    assert_eq!(run(tls(), bound(), plus), Ok(true));
    assert_eq!(run(tls(), ChannelBinding::unsupported(), plain), Ok(false));
    assert_eq!(run(tls(), ChannelBinding::unrequested(), plain), Err(ServerError::Downgrade));
}

#[test]
fn is_refused() {
    let refused = run(Channel::Plain, ChannelBinding::unsupported(), b"SCRAM-SHA-256", "pencil2");
    assert_eq!(refused, Err(ServerError::AuthenticationFailed));
}
