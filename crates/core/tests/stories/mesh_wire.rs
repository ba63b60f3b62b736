//! Messages as bytes: each has one spelling, is read as it was written, and nothing else is read.

use std::fmt::Debug;

use adit_core::mesh::{
    AgentId, Answer, Body, Certificate, CircuitId, CircuitRefused, Endpoint, Frame, Hello, Invitation, InvitationId,
    Kind, LinkClaim, LinkRefused, Listener, Malformed, MeshId, Open, Protocol, Purpose, Record, RecordName, Request,
    ResumeId, Rights, Services, SignedInvitation, Version,
};
use proptest::prelude::*;

/// Bytes as a person reads them: `01 02`, and `ff*32` for a byte that stands there 32 times.
fn spaced(bytes: &[u8]) -> String {
    let runs = bytes.chunk_by(|one, next| one == next).map(|run| match run {
        [byte, ..] if run.len() > 4 => format!("{byte:02x}*{}", run.len()),
        run => run.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "),
    });
    runs.collect::<Vec<_>>().join(" ")
}

/// The examples of the document, without what it says of them.
fn documented() -> String {
    let document = include_str!("../../../../PROTOCOL.md");
    let lines = document.lines().map(|line| match line.strip_prefix("    ") {
        Some(example) => example.split("   ").next().unwrap_or_default(),
        None => "|",
    });
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

/// The program writes these bytes, and PROTOCOL.md shows them.
fn is_written(bytes: &[u8], expected: &str) {
    assert_eq!(spaced(bytes), expected);
    // The document cuts a run where a field ends.
    let unfolded = |text: &str| {
        text.split(' ')
            .flat_map(|word| match word.split_once('*') {
                Some((byte, times)) => vec![byte.to_owned(); times.parse().unwrap()],
                None => vec![word.to_owned()],
            })
            .collect::<Vec<_>>()
            .join(" ")
    };
    let shown = documented();
    let shown = shown.split('|').map(|example| unfolded(example.trim()));
    let expected = unfolded(expected);
    assert!(shown.into_iter().any(|example| example == expected), "PROTOCOL.md shows {expected}");
}

fn id(byte: u8) -> AgentId {
    AgentId([byte; 16])
}

fn certificate() -> Certificate {
    let rights = Rights { publish: vec!["a*".parse().unwrap()], listen: vec![], transit: true };
    let name = "bob".parse().unwrap();
    let invitation = Invitation { key: [0x11; 32], name, rights, redeem_until: 0x0a, expires: 0x0b };
    Certificate {
        invitation: SignedInvitation { invitation, signature: [0x22; 64] },
        identity: [0x33; 32],
        session_key: [0x44; 32],
        signature: [0x55; 64],
    }
}

fn record(body: Body) -> Record {
    let epoch = if body.kind() == Kind::Revocations { 0 } else { 5 };
    Record::create(MeshId([7; 16]), id(9), Version { epoch, sequence: 6 }, body, |_| [0x66; 64])
}

fn bodies() -> [Body; 4] {
    let endpoint = Endpoint {
        key: "web".parse().unwrap(),
        target: "b:80".to_owned(),
        priority: 3,
        is_up: true,
        protocol: Protocol::Udp,
    };
    let listener = Listener { key: "db".parse().unwrap(), protocol: Protocol::Tcp, address: ":1".to_owned() };
    [
        Body::Revocations(vec![InvitationId([1; 16]), InvitationId([2; 16])]),
        Body::Presence(Box::new(certificate())),
        Body::Links(vec![LinkClaim { peer: id(8), cost: 10, rtt_ms: 25 }]),
        Body::Services(Services { endpoints: vec![endpoint], listeners: vec![listener] }),
    ]
}

fn open() -> Open {
    let key = "web".parse().unwrap();
    Open {
        circuit: CircuitId([1; 16]),
        origin: id(2),
        key,
        protocol: Protocol::Tcp,
        hops: vec![id(3)],
        handshake: vec![0x77; 9],
    }
}

fn digest() -> Frame {
    let name = |kind| RecordName { kind, origin: id(9) };
    let version = Version { epoch: 5, sequence: 6 };
    Frame::Digest(vec![(name(Kind::Presence), version), (name(Kind::Links), version)])
}

const INVITATION: &str = "61 64 69 74 20 6d 65 73 68 20 69 6e 76 69 74 61 74 69 6f 6e 20 31 11*32 03 62 6f 62 \
                          01 02 61 2a 00 01 00*7 0a 00*7 0b 22*64";

#[test]
fn frames_are_these_bytes() {
    let certificate = format!("00 90 {INVITATION} 33*32 44*32 55*64");
    for (frame, expected) in [
        (
            Frame::Hello(Box::new(Hello { mesh: MeshId([7; 16]), certificate: self::certificate() })),
            format!("00 00 01 23 01 07*16 {certificate}"),
        ),
        (Frame::Welcome(258), "00 00 00 09 02 00*6 01 02".to_owned()),
        (Frame::Refused(LinkRefused::Replaced), "00 00 00 02 03 04".to_owned()),
        (digest(), "00 00 00 43 04 01 09*16 00*7 05 00*7 06 02 09*16 00*7 05 00*7 06".to_owned()),
        (Frame::Record(vec![1, 2, 3]), "00 00 00 04 05 01 02 03".to_owned()),
        (Frame::Ping(1), "00 00 00 09 06 00*7 01".to_owned()),
        (Frame::Pong(1), "00 00 00 09 07 00*7 01".to_owned()),
    ] {
        is_written(&frame.encode(), &expected);
    }
}

#[test]
fn records_are_these_bytes() {
    let certificate = format!("00 90 {INVITATION} 33*32 44*32 55*64");
    let expected = [
        "09*16 00*16 06 00 00 00 22 00 02 01*16 02*16 66*64".to_owned(),
        format!("09*16 01 00*7 05 00*7 06 00 00 01 12 {certificate} 66*64"),
        "09*16 02 00*7 05 00*7 06 00 00 00 16 00 01 08*16 00 0a 00 19 66*64".to_owned(),
        "09*16 03 00*7 05 00*7 06 00 00 00 17 00 01 03 77 65 62 11 04 62 3a 38 30 03 01 00 01 02 64 62 06 02 3a 31 66*64"
            .to_owned(),
    ];
    for (body, expected) in bodies().into_iter().zip(expected) {
        is_written(&record(body).encode(), &expected);
    }
}

#[test]
fn the_beginning_of_a_circuit_is_these_bytes() {
    let answer = Answer::Refused { by: id(2), why: CircuitRefused::Full };
    let request = |purpose| Request { made_at: 258, purpose, certificate: certificate() };
    let tail = format!("00 90 {INVITATION} 33*32 44*32 55*64");
    let resume = Purpose::Resume { connection: ResumeId([9; 16]), taken: 258 };
    for (bytes, expected) in [
        (open().encode(), "00 41 01*16 02*16 03 77 65 62 06 01 03*16 00 09 77*9".to_owned()),
        (Answer::Accepted(vec![8; 5]).encode(), "00 06 01 08*5".to_owned()),
        (answer.encode(), "00 12 02*17 03".to_owned()),
        (request(Purpose::Connect).encode(), format!("00*6 01 02 01 {tail}")),
        (request(Purpose::Probe).encode(), format!("00*6 01 02 02 {tail}")),
        (request(Purpose::Begin(ResumeId([9; 16]))).encode(), format!("00*6 01 02 03 09*16 {tail}")),
        (request(resume).encode(), format!("00*6 01 02 04 09*16 00*6 01 02 {tail}")),
    ] {
        is_written(&bytes, &expected);
    }
    let prologue = open().prologue(MeshId([7; 16]));
    is_written(&prologue, "61 64 69 74 2d 6d 65 73 68 2f 31 07*16 01*16 02*16 03 77 65 62 06");
}

#[test]
fn every_refusal_has_a_number_of_its_own() {
    let known: Vec<_> = (0..=255).filter_map(LinkRefused::from_code).collect();
    assert_eq!(known.iter().map(|refused| refused.code()).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    let codes = (0..=255).filter(|code| Answer::decode(&[&[2][..], &[9; 16], &[*code]].concat()).is_ok());
    assert_eq!(codes.collect::<Vec<_>>(), (1..=7).collect::<Vec<_>>());
}

/// What is read from part of a message, or from one with something behind it.
fn is_read_whole_alone<T: Debug>(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<T, Malformed>) {
    assert!(decode(bytes).is_ok());
    for length in 0..bytes.len() {
        assert!(decode(&bytes[..length]).is_err(), "{length} bytes of {}", spaced(bytes));
    }
    assert!(decode(&[bytes, &[0]].concat()).is_err(), "{} 00", spaced(bytes));
}

#[test]
fn a_message_that_is_cut_short_or_has_more_behind_it_is_refused() {
    let hello = Frame::Hello(Box::new(Hello { mesh: MeshId([7; 16]), certificate: certificate() }));
    for frame in [hello, Frame::Welcome(1), Frame::Refused(LinkRefused::Full), Frame::Ping(1), Frame::Pong(1)] {
        is_read_whole_alone(&frame.encode()[4..], Frame::decode);
    }
    bodies().map(record).iter().for_each(|record| is_read_whole_alone(&record.encode(), Record::decode));
    is_read_whole_alone(&open().encode()[2..], Open::decode);
    is_read_whole_alone(&Answer::Refused { by: id(2), why: CircuitRefused::Full }.encode()[2..], Answer::decode);
    is_read_whole_alone(&certificate().encode(), Certificate::decode);
    is_read_whole_alone(&certificate().invitation.encode(), SignedInvitation::decode);
    let request = Request { made_at: 1, purpose: Purpose::Connect, certificate: certificate() };
    is_read_whole_alone(&request.encode(), Request::decode);
    // A digest ends where its message does, so between two entries it can be cut.
    let digest = digest().encode();
    for length in 5..digest.len() {
        let is_between = (length - 5) % 33 == 0;
        assert_eq!(Frame::decode(&digest[4..length]).is_ok(), is_between, "{length} bytes");
    }
    assert!(Frame::decode(&[&digest[4..], &[0]].concat()).is_err());
}

#[test]
fn what_has_two_spellings_or_too_much_in_it_is_refused() {
    let is_refused = |body: Body| Record::decode(&record(body).encode()).is_err();
    let one = InvitationId([1; 16]);
    assert!(is_refused(Body::Revocations(vec![one, one])));
    assert!(is_refused(Body::Revocations(vec![InvitationId([2; 16]), one])));
    assert!(is_refused(Body::Links(vec![LinkClaim { peer: id(1), cost: 0, rtt_ms: 1 }])));
    let [.., Body::Services(services)] = bodies() else { panic!("services come last") };
    let twice = [services.endpoints.clone(), services.endpoints.clone()].concat();
    assert!(is_refused(Body::Services(Services { endpoints: twice, listeners: vec![] })));
    let twice = vec![services.listeners[0].clone(); 2];
    assert!(is_refused(Body::Services(Services { endpoints: vec![], listeners: twice })));
    let numbered = |number| Listener { address: format!(":{number:04}"), ..services.listeners[0].clone() };
    let listeners: Vec<Listener> = (0..1024).map(numbered).collect();
    assert!(!is_refused(Body::Services(Services { endpoints: vec![], listeners: listeners.clone() })));
    assert!(is_refused(Body::Services(Services { listeners, ..services })));
}

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9*äß_.-]{1,12}"
}

prop_compose! {
    fn any_certificate()(
        keys in any::<[[u8; 32]; 3]>(),
        signatures in any::<[[u8; 32]; 4]>(),
        name in word(),
        publish in prop::collection::vec(word(), 0..4),
        listen in prop::collection::vec(word(), 0..4),
        transit in any::<bool>(),
        times in any::<(u64, u64)>(),
    ) -> Certificate {
        let patterns = |words: Vec<String>| words.iter().map(|word| word.parse().unwrap()).collect();
        let rights = Rights { publish: patterns(publish), listen: patterns(listen), transit };
        let signature = |half: usize| {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&signatures[half]);
            signature[32..].copy_from_slice(&signatures[half + 1]);
            signature
        };
        let name = name.parse().unwrap();
        let invitation = Invitation { key: keys[0], name, rights, redeem_until: times.0, expires: times.1 };
        let invitation = SignedInvitation { invitation, signature: signature(0) };
        Certificate { invitation, identity: keys[1], session_key: keys[2], signature: signature(2) }
    }
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop::sample::select(vec![Protocol::Tcp, Protocol::Udp])
}

fn any_body() -> impl Strategy<Value = Body> {
    let revoked = prop::collection::btree_set(any::<[u8; 16]>(), 0..9);
    let link = (any::<[u8; 16]>(), 1_u16.., any::<u16>());
    let link = link.prop_map(|(peer, cost, rtt_ms)| LinkClaim { peer: AgentId(peer), cost, rtt_ms });
    let endpoints =
        prop::collection::btree_map((word(), protocol(), "[ -~]{0,30}"), (any::<u8>(), any::<bool>()), 0..9);
    let endpoints = endpoints.prop_map(|endpoints| {
        let endpoint = |((key, protocol, target), (priority, is_up)): ((String, Protocol, String), _)| Endpoint {
            key: key.parse().unwrap(),
            protocol,
            target,
            priority,
            is_up,
        };
        endpoints.into_iter().map(endpoint).collect::<Vec<_>>()
    });
    let listeners = prop::collection::btree_set((word(), protocol(), "[ -~]{0,30}"), 0..9);
    let listeners = listeners.prop_map(|listeners| {
        let listener =
            |(key, protocol, address): (String, _, _)| Listener { key: key.parse().unwrap(), protocol, address };
        listeners.into_iter().map(listener).collect::<Vec<_>>()
    });
    prop_oneof![
        revoked.prop_map(|revoked| Body::Revocations(revoked.into_iter().map(InvitationId).collect())),
        any_certificate().prop_map(|certificate| Body::Presence(Box::new(certificate))),
        prop::collection::vec(link, 0..9).prop_map(Body::Links),
        (endpoints, listeners).prop_map(|(endpoints, listeners)| Body::Services(Services { endpoints, listeners })),
    ]
}

fn any_record() -> impl Strategy<Value = Record> {
    (any_body(), any::<[u8; 16]>(), any::<u64>(), 1_u64.., any::<u8>()).prop_map(
        |(body, origin, epoch, sequence, signature)| {
            let epoch = if body.kind() == Kind::Revocations { 0 } else { epoch };
            Record::create(MeshId([7; 16]), AgentId(origin), Version { epoch, sequence }, body, |_| [signature; 64])
        },
    )
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let kind = prop::sample::select(vec![Kind::Revocations, Kind::Presence, Kind::Links, Kind::Services]);
    let entry = (kind, any::<[u8; 16]>(), any::<u64>(), any::<u64>()).prop_map(|(kind, origin, epoch, sequence)| {
        (RecordName { kind, origin: AgentId(origin) }, Version { epoch, sequence })
    });
    let refused = (1_u8..=10).prop_map(|code| LinkRefused::from_code(code).unwrap());
    prop_oneof![
        (any::<[u8; 16]>(), any_certificate())
            .prop_map(|(mesh, certificate)| Frame::Hello(Box::new(Hello { mesh: MeshId(mesh), certificate }))),
        any::<u64>().prop_map(Frame::Welcome),
        refused.prop_map(Frame::Refused),
        prop::collection::vec(entry, 0..20).prop_map(Frame::Digest),
        any_record().prop_map(|record| Frame::Record(record.encode())),
        any::<u64>().prop_map(Frame::Ping),
        any::<u64>().prop_map(Frame::Pong),
    ]
}

fn any_open() -> impl Strategy<Value = Open> {
    let hops = prop::collection::vec(any::<[u8; 16]>().prop_map(AgentId), 0..=16);
    let handshake = prop::collection::vec(any::<u8>(), 0..300);
    (any::<([u8; 16], [u8; 16])>(), word(), protocol(), hops, handshake).prop_map(
        |((circuit, origin), key, protocol, hops, handshake)| {
            let (circuit, origin, key) = (CircuitId(circuit), AgentId(origin), key.parse().unwrap());
            Open { circuit, origin, key, protocol, hops, handshake }
        },
    )
}

fn any_answer() -> impl Strategy<Value = Answer> {
    use CircuitRefused::{BadHandshake, Full, NoLink, NoRight, NoTransit, Replayed, UnknownKey};
    let why = prop::sample::select(vec![NoLink, NoTransit, Full, UnknownKey, BadHandshake, Replayed, NoRight]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Answer::Accepted),
        (any::<[u8; 16]>(), why).prop_map(|(by, why)| Answer::Refused { by: AgentId(by), why }),
    ]
}

/// Every message as it travels, without its length, beside what reads it and writes it again.
type Rewrite = fn(&[u8]) -> Result<Vec<u8>, Malformed>;

fn any_message() -> impl Strategy<Value = (Vec<u8>, Rewrite)> {
    let connection = any::<[u8; 16]>().prop_map(ResumeId);
    let purpose = prop_oneof![
        Just(Purpose::Connect),
        Just(Purpose::Probe),
        connection.clone().prop_map(Purpose::Begin),
        (connection, any::<u64>()).prop_map(|(connection, taken)| Purpose::Resume { connection, taken }),
    ];
    let request = (any::<u64>(), purpose, any_certificate()).prop_map(|(made_at, purpose, certificate)| Request {
        made_at,
        purpose,
        certificate,
    });
    prop_oneof![
        any_frame().prop_map(|frame| (frame.encode()[4..].to_vec(), FRAME)),
        any_record().prop_map(|record| (record.encode(), RECORD)),
        any_open().prop_map(|open| (open.encode()[2..].to_vec(), OPEN)),
        any_answer().prop_map(|answer| (answer.encode()[2..].to_vec(), ANSWER)),
        request.prop_map(|request| (request.encode(), REQUEST)),
    ]
}

const FRAME: Rewrite = |bytes| Frame::decode(bytes).map(|frame| frame.encode()[4..].to_vec());
/// From what it says, and not from the bytes that it keeps for its signature's sake.
const RECORD: Rewrite = |bytes| {
    let Record { name, version, body, .. } = Record::decode(bytes)?;
    let mut signature = [0; 64];
    signature.copy_from_slice(&bytes[bytes.len() - 64..]);
    Ok(Record::create(MeshId([7; 16]), name.origin, version, body, |_| signature).encode())
};
const OPEN: Rewrite = |bytes| Open::decode(bytes).map(|open| open.encode()[2..].to_vec());
const ANSWER: Rewrite = |bytes| Answer::decode(bytes).map(|answer| answer.encode()[2..].to_vec());
const REQUEST: Rewrite = |bytes| Request::decode(bytes).map(|request| request.encode());

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read(
        frame in any_frame(),
        record in any_record(),
        open in any_open(),
        answer in any_answer(),
    ) {
        prop_assert_eq!(Frame::decode(&frame.encode()[4..]), Ok(frame));
        prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
        prop_assert_eq!(Open::decode(&open.encode()[2..]), Ok(open));
        prop_assert_eq!(Answer::decode(&answer.encode()[2..]), Ok(answer));
    }

    #[test]
    fn what_is_read_has_one_spelling(
        (bytes, rewrite) in any_message(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut changed = bytes;
        changes.iter().for_each(|(at, byte)| *at.get_mut(&mut changed) = *byte);
        if let Ok(again) = rewrite(&changed) {
            prop_assert_eq!(again, changed);
        } else {
            prop_assert!(!changes.is_empty(), "what we wrote is read");
        }
    }

    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..400), kind in 0_u8..9) {
        // A kind in front leads further in than chance alone.
        let framed = [&[kind][..], &bytes].concat();
        for rewrite in [FRAME, RECORD, OPEN, ANSWER, REQUEST] {
            for bytes in [&bytes, &framed] {
                if let Ok(again) = rewrite(bytes) {
                    prop_assert_eq!(&again, bytes);
                }
            }
        }
    }
}
