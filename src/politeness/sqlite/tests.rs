use super::super::conformance;
use super::*;
use crate::runtime::clock::ManualClock;

const TTL: Duration = Duration::from_secs(60);

fn windows(database: Database, clock: &Arc<ManualClock>) -> SqliteHostWindows {
    SqliteHostWindows::new(database, conformance::limits(), clock.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn they_keep_the_ports_promises() {
    let clock = Arc::new(ManualClock::default());
    let windows = windows(Database::open_in_memory().unwrap(), &clock);
    conformance::all(Arc::new(windows), clock).await;
}

#[tokio::test]
async fn two_processes_share_the_slots_of_a_host() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("podrun.db");
    let clock = Arc::new(ManualClock::default());
    let open = || windows(Database::open(&path).unwrap(), &clock);
    let (first, second) = (open(), open());
    let (host, owner) = (HostKey("a.example".into()), OwnerId::generate("a"));
    for windows in [&first, &second] {
        clock.advance(Duration::from_secs(1));
        let decision = windows.acquire(&host, &owner, TTL).await.unwrap();
        assert!(matches!(decision, SlotDecision::Granted(_)));
    }
    clock.advance(Duration::from_secs(1));
    let decision = first.acquire(&host, &owner, TTL).await.unwrap();
    assert!(matches!(decision, SlotDecision::Full(_)), "{decision:?}");
}

async fn is_granted(windows: &SqliteHostWindows, host: &HostKey) -> Option<Slot> {
    let owner = OwnerId::generate("somebody");
    match windows.acquire(host, &owner, TTL).await.unwrap() {
        SlotDecision::Granted(slot) => Some(slot),
        SlotDecision::Full(_) => None,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn case_087_a_killed_workers_slots_are_free_after_a_minute() {
    let clock = Arc::new(ManualClock::default());
    let windows = windows(Database::open_in_memory().unwrap(), &clock);
    let host = HostKey("a.example".into());
    let second = Duration::from_secs(1);
    let killed = is_granted(&windows, &host).await.unwrap();
    clock.advance(second);
    let alive = is_granted(&windows, &host).await.unwrap();
    for _ in 1..60 {
        assert_eq!(is_granted(&windows, &host).await, None);
        windows.renew(&alive, TTL).await.unwrap();
        clock.advance(second);
    }
    assert!(is_granted(&windows, &host).await.is_some());
    let late = windows.renew(&killed, TTL).await;
    assert!(
        matches!(late, Err(WindowError::SlotLost { .. })),
        "{late:?}"
    );
    windows.renew(&alive, TTL).await.unwrap();
}

#[tokio::test]
async fn case_088_clocks_ten_seconds_apart_grant_no_living_slot_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("podrun.db");
    let at = |clock| {
        let database = Database::open(&path).unwrap();
        Arc::new(SqliteHostWindows::new(
            database,
            conformance::limits(),
            clock,
        )) as Arc<dyn HostWindows>
    };
    conformance::agrees_with_clocks_apart(at).await;
}

#[tokio::test]
async fn a_file_from_before_adaptive_windows_keeps_its_rests() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("podrun.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    for migration in [
        include_str!("../../runtime/sqlite/migrations/0001_queue_checkpoints_metrics.sql"),
        include_str!("../../runtime/sqlite/migrations/0002_host_windows.sql"),
    ] {
        old.execute_batch(migration).unwrap();
    }
    let clock = Arc::new(ManualClock::default());
    let until = later(clock.now(), Duration::from_secs(3600));
    let insert = "INSERT INTO hosts VALUES ('a.example', ?1, NULL), ('b.example', NULL, 5)";
    old.execute(insert, [to_micros(until)]).unwrap();
    old.pragma_update(None, "application_id", 0x706f_6472)
        .unwrap();
    old.pragma_update(None, "user_version", 2).unwrap();
    drop(old);

    let windows = windows(Database::open(&path).unwrap(), &clock);
    let host = HostKey("a.example".into());
    let owner = OwnerId::generate("somebody");
    let answer = windows.acquire(&host, &owner, TTL).await.unwrap();
    assert_eq!(answer, SlotDecision::HeldOff(until));
    let host = HostKey("b.example".into());
    assert!(is_granted(&windows, &host).await.is_some());
}

#[tokio::test]
async fn a_damaged_row_stops_its_own_host_and_says_so() {
    let clock = Arc::new(ManualClock::default());
    let database = Database::open_in_memory().unwrap();
    let damage = "INSERT INTO hosts (host, state) VALUES ('a.example', '{\"width\": 7}')";
    let write = database.write(move |rows| Ok(rows.execute(damage, [])?));
    write.await.unwrap();
    let windows = windows(database, &clock);
    let (host, owner) = (HostKey("a.example".into()), OwnerId::generate("somebody"));
    let error = windows.acquire(&host, &owner, TTL).await.unwrap_err();
    let told = error.to_string();
    assert!(
        told.contains("hosts") && told.contains("a.example"),
        "{told}"
    );
    let other = HostKey("b.example".into());
    assert!(is_granted(&windows, &other).await.is_some());
}

#[tokio::test]
async fn a_dead_owners_slots_come_back_and_nobody_elses() {
    let clock = Arc::new(ManualClock::default());
    let windows = windows(Database::open_in_memory().unwrap(), &clock);
    let (dead, alive) = (OwnerId::generate("dead"), OwnerId::generate("alive"));
    let hosts = [HostKey("a.example".into()), HostKey("b.example".into())];
    let mut kept = Vec::new();
    for host in &hosts {
        for owner in [&dead, &alive] {
            clock.advance(Duration::from_secs(1));
            match windows.acquire(host, owner, TTL).await.unwrap() {
                SlotDecision::Granted(slot) if owner == &alive => kept.push(slot),
                SlotDecision::Granted(_) => {}
                refused => panic!("{refused:?}"),
            }
        }
    }
    assert_eq!(windows.release_owner(&dead).await.unwrap(), 2);
    assert_eq!(windows.release_owner(&dead).await.unwrap(), 0);
    for slot in &kept {
        windows.renew(slot, TTL).await.unwrap();
    }
    clock.advance(Duration::from_secs(1));
    let decision = windows.acquire(&hosts[0], &dead, TTL).await.unwrap();
    assert!(matches!(decision, SlotDecision::Granted(_)));
}
