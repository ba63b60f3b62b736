//! The audit log as a table, which may take as long as whoever reads it.

use adit_jumphost::admin::AccountChange;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::browser::PATIENCE;
use crate::host::Host;

/// Far more than the buffers between the server and a reader hold.
const LOG_BYTES: usize = 60_000_000;

#[tokio::test]
async fn whoever_administers_no_longer_reads_no_further() {
    let host = Host::start().await;
    host.administrator("root").await;
    let eve = host.administrator("eve").await;
    host.lengthen_audit_log(6_000, LOG_BYTES / 6_000).await;
    let ask = format!(
        "GET /api/v1/admin/audit.csv HTTP/1.1\r\nhost: {}\r\ncookie: {}\r\nx-csrf-token: {}\r\nconnection: close\r\n\r\n",
        host.web,
        eve.cookie.as_deref().unwrap(),
        eve.csrf.as_deref().unwrap()
    );
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let mut stream = socket.connect(host.web).await.unwrap();
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut begun = [0; 4_096];
    timeout(PATIENCE, stream.read_exact(&mut begun)).await.expect("it begins").unwrap();
    assert!(begun.starts_with(b"HTTP/1.1 200 "));

    let demoted = AccountChange { name: "eve".to_owned(), tier: None, admin: Some(false), disabled: None };
    host.admin.call(demoted).await.unwrap();
    let mut rest = Vec::new();
    // How it breaks off is the transport's.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it ends");
    assert!(rest.len() < LOG_BYTES / 2, "{} bytes were told", rest.len());
    assert!(!rest.ends_with(b"0\r\n\r\n"), "nobody may take it for the whole");
    assert_eq!(eve.post("/api/v1/me/ports", json!({"port": 10_080})).await.status, 401);
}
