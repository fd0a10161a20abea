//! DPDK's hash table finds what was put in, and nothing else.

#[path = "support/rig.rs"]
mod rig;

use dpdk::{HASH_BURST, hash_table};

fn key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.to_le_bytes());
    key
}

#[test]
fn what_was_put_in_is_found_beside_a_writer() {
    let eal = rig::start(&[]);
    let (mut writer, reader) = hash_table(&eal, "numbers", 1024).unwrap();
    let (known, unknown): (Vec<_>, Vec<_>) = (0..64).map(|it| (key(it), key(it + 1000))).unzip();
    for key in &known {
        writer.put(key, 7).unwrap();
    }
    assert_eq!(reader.look_up(&known), HASH_BURST);
    assert_eq!(reader.look_up(&unknown), 0);
    assert_eq!(reader.look_up(&[unknown[0], known[0], unknown[1]]), 1);
    assert_eq!(reader.look_up(&[]), 0);

    let watched = reader.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| (0..10_000).for_each(|_| assert_eq!(watched.look_up(&known), HASH_BURST)));
        for round in 0..10_000_u64 {
            let number = usize::try_from(round).unwrap();
            writer.put(&key(round % 64), number).unwrap();
        }
    });

    let too_many = (0..4096).find_map(|it| writer.put(&key(it), 0).err());
    let error = too_many.unwrap().to_string();
    assert!(error.contains("make the table larger"), "{error}");
    assert!(hash_table(&eal, "numbers", 8).is_err(), "the name is taken");
}
