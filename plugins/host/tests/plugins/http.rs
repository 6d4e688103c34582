//! The one door to the network.

use std::net::SocketAddr;

use strata_plugin_host::{HttpGrant, HttpLimits, SinkInstance, Verdict, World};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

/// A server that answers each request with `status` and hands on what it got: request line, headers, body.
async fn server(status: &'static str) -> (SocketAddr, mpsc::UnboundedReceiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(BufReader::new(stream), status, sender.clone()));
        }
    });
    (address, receiver)
}

async fn serve(
    mut stream: BufReader<tokio::net::TcpStream>,
    status: &'static str,
    sender: mpsc::UnboundedSender<(String, String)>,
) {
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).await.unwrap();
        sender.send((head, String::from_utf8(body).unwrap())).ok();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 4\r\n\r\nword");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

async fn sink(grant: &str, url: &str, more: &[(&str, &str)]) -> SinkInstance {
    sink_with(grant, url, more, HttpLimits::default()).await
}

async fn sink_with(grant: &str, url: &str, more: &[(&str, &str)], http: HttpLimits) -> SinkInstance {
    let plugin = load(HTTP_SINK, Limits { http, ..Limits::default() }).await;
    assert_eq!(plugin.world(), World::SinkConnector);
    let grants = Grants { http: Some(HttpGrant::parse(grant).unwrap()) };
    let mut config = config(more);
    config.insert("http.url".into(), url.into());
    plugin.sink(&grants, &config).await.expect("a sink")
}

async fn put(sink: &mut SinkInstance) -> Result<(), PluginError> {
    let (header, records) = batch(&[(Some("k"), Some("v")), (None, None)]);
    sink.put(&header, records).await
}

async fn refused(grant: &str, url: &str) -> String {
    let error = put(&mut sink(grant, url, &[]).await).await.unwrap_err();
    let PluginError::Returned(returned) = error else { panic!("{error}") };
    assert_eq!(returned.verdict, Verdict::Stop, "{returned}");
    returned.message
}

#[tokio::test]
async fn a_batch_is_posted_to_the_host_that_is_granted() {
    let (address, mut requests) = server("200 OK").await;
    let mut sink = sink(&address.to_string(), &format!("http://{address}/in?x=1"), &[]).await;
    for _ in 0..2 {
        put(&mut sink).await.expect("delivered");
        let (head, body) = requests.recv().await.unwrap();
        assert!(head.starts_with("POST /in?x=1 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("host: {address}\r\n")), "{head}");
        let rows: Vec<serde_json::Value> =
            body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(
            (&rows[0]["key"], &rows[0]["value"], &rows[0]["offset"]),
            (&"k".into(), &"v".into(), &100.into())
        );
        assert!(rows[1]["key"].is_null() && rows[1]["value"].is_null());
    }
}

#[tokio::test]
async fn answers_decide_between_delivered_again_and_never() {
    let cases = [
        ("503 Service Unavailable", Verdict::Retry),
        ("400 Bad Request", Verdict::Reject),
        ("302 Found", Verdict::Reject),
    ];
    for (status, verdict) in cases {
        let (address, _requests) = server(status).await;
        let mut sink = sink(&address.to_string(), &format!("http://{address}/"), &[]).await;
        let Err(PluginError::Returned(error)) = put(&mut sink).await else { panic!("{status} is an error") };
        assert_eq!(error.verdict, verdict, "{status}");
        assert!(error.message.contains(&status[..3]), "{error}");
    }
}

#[tokio::test]
async fn a_host_that_is_not_granted_is_refused_before_anything_is_resolved() {
    let message = refused("api.example.com:443", "http://no-such-name.invalid/").await;
    assert_eq!(message, "http://no-such-name.invalid/: no-such-name.invalid:80 is not in the grant");
    let (address, mut requests) = server("200 OK").await;
    let other = SocketAddr::from(([127, 0, 0, 1], if address.port() == 1 { 2 } else { 1 }));
    refused(&other.to_string(), &format!("http://{address}/")).await;
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn metadata_addresses_are_refused_however_they_are_written() {
    for url in [
        "http://169.254.169.254/latest",
        "http://0xa9fea9fe/latest",
        "http://[::ffff:169.254.169.254]/latest",
    ] {
        refused("*.example.com:80,localhost:80,metadata.internal:80/private", url).await;
    }
    refused("127.0.0.1:80", "file:///etc/passwd").await;
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_cut_off() {
    let (address, _requests) = server("200 OK").await;
    let limits = HttpLimits { response_bytes_max: 3, ..HttpLimits::default() };
    let mut sink = sink_with(&address.to_string(), &format!("http://{address}/"), &[], limits).await;
    let error = put(&mut sink).await.unwrap_err();
    assert!(error.to_string().contains("the answer is too large"), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_a_retry_and_its_time_is_not_the_plugins() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let plugin = load(
        HTTP_SINK,
        Limits {
            call_deadline_ms: 500,
            http: HttpLimits { request_deadline_ms: 700, ..HttpLimits::default() },
            ..Limits::default()
        },
    );
    let grants = Grants { http: Some(HttpGrant::parse(&address.to_string()).unwrap()) };
    let config = config(&[("http.url", &format!("http://{address}/"))]);
    let mut sink = plugin.await.sink(&grants, &config).await.unwrap();
    let Err(PluginError::Returned(error)) = put(&mut sink).await else { panic!("an error is due") };
    assert_eq!(error.verdict, Verdict::Retry);
    assert!(error.message.contains("did not answer in time"), "{error}");
}
