use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, DuplexStream};

use super::*;

/// The reading half of a connection on a clock of its own, and the client's end.
struct Reading {
    client: DuplexStream,
    end: tokio::task::JoinHandle<(End, Duration)>,
    events: mpsc::Receiver<Event>,
}

fn reading() -> Reading {
    reading_within(&TOTALS)
}

fn reading_within(totals: &'static Totals) -> Reading {
    let (client, stream) = tokio::io::duplex(1 << 20);
    let connection = Connection {
        peer: "test".to_owned(),
        stream: Box::new(stream),
    };
    let (full, readable) = (FullOutboxes::default(), Readable::default());
    let (inbox, outbox) = split_within(1, connection, &full, &readable, totals);
    let (sender, events) = mpsc::channel(8);
    let end = tokio::spawn(async move {
        let begin = tokio::time::Instant::now();
        let (_config, config) = watch::channel(SILENT);
        let end = tokio::select! {
            end = read(inbox, &readable, &sender) => end,
            end = write(&outbox, config) => end,
        };
        (end, begin.elapsed())
    });
    Reading {
        client,
        end,
        events,
    }
}

/// Nobody is asked for signs of life.
const SILENT: Config = Config {
    min_backoff: Duration::ZERO,
    max_backoff: Duration::ZERO,
    probe_interval: None,
};

/// Reads as the event loop does.
async fn read(mut inbox: Inbox, readable: &Readable, events: &mpsc::Sender<Event>) -> End {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match inbox.poll_received(&mut buffer) {
            Poll::Ready(Ok(message)) => {
                let session = readable.take().unwrap_or(1);
                let _ = events.send(Event::Message { session, message }).await;
            }
            Poll::Ready(Err(end)) => return end,
            Poll::Pending => {
                readable.wait().await;
                readable.take();
            }
        }
    }
}

const START: &[u8] = b"{\"id\":1,\"method\":\"echo\",\"params\":[\"";

#[tokio::test(start_paused = true)]
async fn a_request_has_a_minute_to_be_complete() {
    let Reading {
        mut client, end, ..
    } = reading();
    // A little now and then does not help.
    for byte in START {
        if client.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(7)).await;
    }
    let (end, after) = end.await.unwrap();
    assert!(matches!(end, End::Slow(9)), "{end}");
    let seconds = after.as_secs();
    assert!((60..=61).contains(&seconds), "cut off after {seconds} s");
}

#[tokio::test(start_paused = true)]
async fn a_long_request_has_a_second_for_each_kib() {
    let Reading {
        mut client, end, ..
    } = reading();
    let bytes = [START, &vec![b'x'; 300 << 10]].concat();
    client.write_all(&bytes).await.unwrap();
    let (end, after) = end.await.unwrap();
    assert!(
        matches!(end, End::Slow(count) if count == bytes.len()),
        "{end}"
    );
    let seconds = after.as_secs();
    assert!((360..=361).contains(&seconds), "cut off after {seconds} s");
}

#[tokio::test(start_paused = true)]
async fn who_has_asked_may_be_silent() {
    let Reading {
        mut client,
        end,
        mut events,
    } = reading();
    client.write_all(START).await.unwrap();
    tokio::time::sleep(Duration::from_secs(59)).await;
    client.write_all(b"\"]}").await.unwrap();
    assert!(matches!(events.recv().await, Some(Event::Message { .. })));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!end.is_finished());
    drop(client);
    assert!(matches!(end.await.unwrap().0, End::ByPeer));
}

#[tokio::test(start_paused = true)]
async fn unfinished_requests_are_bounded_together() {
    static TOTALS: Totals = Totals {
        backlog: Total::new(0),
        partial: Total::new(5 << 20),
    };
    let much = [START, &vec![b'x'; 2 << 20]].concat();
    let mut clients: Vec<Reading> = (0..4).map(|_| reading_within(&TOTALS)).collect();
    for (n, Reading { client, .. }) in clients.iter_mut().enumerate() {
        let sent = client.write_all(&much).await;
        assert_eq!(sent.is_ok(), n < 2, "client {n}: {sent:?}");
    }
    // A short request is taken all the same, and an old one may be completed.
    let mut short = reading_within(&TOTALS);
    short.client.write_all(START).await.unwrap();
    let [first, second, third, fourth] = &mut clients[..] else {
        unreachable!("four were made");
    };
    for Reading { client, events, .. } in [&mut short, first] {
        client.write_all(b"\"]}").await.unwrap();
        assert!(matches!(events.recv().await, Some(Event::Message { .. })));
    }
    assert!(!second.end.is_finished());
    for Reading { end, .. } in [third, fourth] {
        let (end, _) = end.await.unwrap();
        assert!(
            matches!(end, End::Partial(bytes) if bytes > 1 << 20),
            "{end}"
        );
    }
}

#[tokio::test]
async fn what_waits_to_be_sent_is_bounded_together() {
    static TOTALS: Totals = Totals {
        backlog: Total::new(5 << 20),
        partial: Total::new(0),
    };
    let full = FullOutboxes::default();
    let much: Arc<[u8]> = vec![b' '; 2 << 20].into();
    let mut clients = Vec::new();
    for _ in 0..3 {
        let (client, stream) = tokio::io::duplex(1);
        let connection = Connection {
            peer: "test".to_owned(),
            stream: Box::new(stream),
        };
        let (_, outbox) = split_within(1, connection, &full, &Readable::default(), &TOTALS);
        // One message may be of any size.
        outbox.send(Outgoing::Text(much.clone()));
        full.write_out();
        assert!(outbox.end().is_none());
        clients.push((client, outbox));
    }
    let echo = || Outgoing::Message(Message::request(json!("echo"), "echo", json!([])));
    let (_, third) = clients.pop().unwrap();
    third.send(echo());
    assert!(matches!(third.end(), Some(End::Backlog(bytes)) if bytes > 1 << 20));
    // Without it the others have room.
    full.write_out();
    drop(third);
    for (_, outbox) in &clients {
        outbox.send(echo());
        assert!(outbox.end().is_none());
    }
}

#[tokio::test]
async fn who_reads_too_slowly_is_cut_off() {
    let (_client, stream) = tokio::io::duplex(1);
    let connection = Connection {
        peer: "test".to_owned(),
        stream: Box::new(stream),
    };
    let full = FullOutboxes::default();
    let (_, outbox) = split(5, connection, &full, &Readable::default());
    let send = |bytes: usize| {
        outbox.send(Outgoing::Text(vec![b' '; bytes].into()));
        full.write_out();
        (full.take_lags(), outbox.end().is_some())
    };
    assert_eq!(send(1 << 10), (vec![], false));
    assert_eq!(send(1 << 20), (vec![(5, true)], false));
    // One message may be of any size, but none may wait behind it.
    assert_eq!(send(MAX_BACKLOG), (vec![], false));
    assert_eq!(send(1), (vec![], true));
    assert!(matches!(outbox.end(), Some(End::DoesNotRead(_))));
}

#[test]
fn what_is_sent_at_once_and_what_waits_arrives_in_order() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (mut peer, socket) = UnixStream::pair().unwrap();
    socket.set_nonblocking(true).unwrap();
    // Longer than the socket takes, so that there is something left over.
    let long: Vec<u8> = (0..500_000u32).flat_map(u32::to_le_bytes).collect();
    let expected = [
        b"now",
        b"one",
        b"two",
        &long[..],
        b"three",
        &long[..],
        b"end",
    ]
    .concat();
    let reader = std::thread::spawn(move || {
        let mut got = Vec::new();
        peer.read_to_end(&mut got).map(|_| got)
    });
    runtime.block_on(async {
        let connection = Connection {
            peer: "p".to_owned(),
            stream: Box::new(tokio::net::UnixStream::from_std(socket).unwrap()),
        };
        let full = FullOutboxes::default();
        let (inbox, outbox) = split(1, connection, &full, &Readable::default());
        let text = |text: &[u8]| Outgoing::Text(text.into());
        outbox.write_now(b"now");
        outbox.send(text(b"one"));
        outbox.write_now(b"two");
        outbox.write_now(&long);
        outbox.send(text(b"three"));
        full.write_out();
        outbox.write_now(&long);
        outbox.send(text(b"end"));
        outbox.send(Outgoing::Close);
        outbox.write_now(b"this is too late");
        full.write_out();
        let (_sender, config) = watch::channel(Config::default());
        let limit = Duration::from_secs(30);
        let writing = tokio::time::timeout(limit, write(&outbox, config));
        assert!(matches!(writing.await.unwrap(), End::Closed));
        outbox.state().writer = None;
        drop(inbox);
    });
    assert!(reader.join().unwrap().unwrap() == expected);
}
