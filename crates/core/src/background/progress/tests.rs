use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(lines: &[(&str, Option<u8>)]) {
    let mut wrong = Vec::new();
    for &(line, expected) in lines {
        let found = read_progress(line);
        let percent = found.as_ref().and_then(|progress| progress.percent);
        if percent != expected || found.is_some() != expected.is_some() {
            wrong.push(format!("{line:?}: expected {expected:?}, got {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn build_tools() {
    check(&[
        ("    Building [=======>                 ] 12/80: serde, tokio(build)", Some(15)),
        ("    Building [                         ] 0/80", Some(0)),
        ("[12/80] Building CXX object src/CMakeFiles/a.dir/b.cpp.o", Some(15)),
        ("[80/80] Linking CXX executable a.out", Some(100)),
        ("[ 45%] Building CXX object src/CMakeFiles/a.dir/b.cpp.o", Some(45)),
        ("[100%] Built target a", Some(100)),
        ("[1,234 / 5,678] Compiling src/main/cpp/blaze.cc; 3s linux-sandbox", Some(21)),
        ("<=====--------> 45% EXECUTING [3s]", Some(45)),
        ("[INFO] Building module 1.0-SNAPSHOT                        [3/12]", Some(25)),
        ("Progress (1): 12/80 kB", Some(15)),
        ("<s> [webpack.Progress] 45% building 12/80 modules", Some(45)),
        ("45% building", Some(45)),
        ("10% [0] building", Some(10)),
        ("Compiling 12 of 80 modules", Some(15)),
        ("[ 12 of 80] Compiling Data.Map ( Data/Map.hs )", Some(15)),
    ]);
}

#[test]
fn package_managers() {
    check(&[
        ("[3/4] Linking dependencies...", Some(75)),
        ("[2/4] 🚚  Fetching packages...", Some(50)),
        ("[##########..........] / idealTree:app: sill idealTree buildDeps", Some(50)),
        ("(#####⠂⠂⠂⠂⠂⠂⠂⠂⠂⠂⠂⠂⠂) ⠧ reify:typescript: timing reifyNode", Some(27)),
        ("[#####-----------] 12/80", Some(15)),
        ("     ━━━━━━━━━━━━━╸━━━━━━━━━━━━━━ 45.2/112.3 MB 5.6 MB/s eta 0:00:12", Some(40)),
        ("     |████████████████                | 45% ", Some(45)),
        ("numpy-1.26.4         | 7.1 MB    | ####5      |  45% ", Some(45)),
        ("Reading package lists... 45%", Some(45)),
        ("45% [Working]", Some(45)),
        ("Progress: [ 45%] [#########...........]", Some(45)),
        (" 12.3 MiB /  80.1 MiB ( 15 %)   1.2 MiB/s in  3s ETA: 55s", Some(15)),
        ("Installing packages (12/80)", Some(15)),
        ("(12/80) upgrading linux-firmware", Some(15)),
    ]);
}

#[test]
fn pnpm_counts_without_a_total() {
    let line = "Progress: resolved 312, reused 300, downloaded 10, added 12";
    let progress = read_progress(line).expect("progress");
    assert_eq!(progress, Progress { percent: None, message: Some(line.to_owned()) });
}

#[test]
fn test_runners() {
    check(&[
        ("tests/test_a.py ........F.....                              [ 45%]", Some(45)),
        ("[gw0] [ 45%] PASSED tests/test_a.py::test_one", Some(45)),
        (" tests/test_a.py ✓✓✓✓                                   45% ████▌     ", Some(45)),
        (" 12/80 Test #12: parser.unit ..................   Passed    0.01 sec", Some(15)),
        ("12/80 parser OK              0.12s", Some(15)),
        ("13/80 Test #13: parser.slow ..................***Failed    0.01 sec", Some(16)),
        ("Running tests 12/80", Some(15)),
        ("12 of 80 tests", Some(15)),
    ]);
}

#[test]
fn containers_and_transfers() {
    check(&[
        ("Step 3/12 : RUN apt-get update", Some(25)),
        ("#8 [3/9] RUN cargo build --release", Some(33)),
        ("#12 [build-stage 4/8] COPY . .", Some(50)),
        (" => [stage-1 3/9] RUN npm ci                                  12.3s", Some(33)),
        ("[+] Building 12.3s (7/12)", Some(58)),
        ("[+] Running 3/5", Some(60)),
        ("a1b2c3d4e5f6: Downloading [=======>          ]  12MB/80MB", Some(15)),
        ("=> => sha256:a1b2c3 12.58MB / 83.89MB                            1.2s", Some(14)),
        ("data.zip             45%[========>           ]  36.00M  12.3MB/s    eta 4s", Some(45)),
        ("  50K .......... .......... .......... ..........  45% 1.2MB/s 3s", Some(45)),
        ("######################                       45.3%", Some(45)),
        ("45 12.3M   45 5678k    0     0  1234k      0  0:00:10  0:00:04  0:00:06 1234k", Some(45)),
        ("  1,234,567  45%    1.23MB/s    0:00:12 (xfr#1, to-chk=12/80)", Some(45)),
        ("file.bin            45%   36MB  12.3MB/s   00:03 ETA", Some(45)),
        ("[download]  45.3% of 10.00MiB at  1.20MiB/s ETA 00:04", Some(45)),
        ("remote: Compressing objects:  45% (123/273)", Some(45)),
        ("Receiving objects: 100% (273/273), 1.20 MiB | 1.20 MiB/s, done.", Some(100)),
        ("Updating files:  45% (12/26)", Some(45)),
    ]);
}

#[test]
fn training_and_plain() {
    check(&[
        (" 45%|████▌     | 45/100 [00:10<00:12,  4.50it/s]", Some(45)),
        ("model.safetensors:  45%|████▌     | 1.22G/2.71G [00:10<00:12, 120MB/s]", Some(45)),
        ("12/80 [===>..........................] - ETA: 3s - loss: 0.1234", Some(15)),
        ("Epoch 3/10", Some(30)),
        ("45%", Some(45)),
        ("12/80", Some(15)),
        ("0%", Some(0)),
        ("45.7%", Some(45)),
        ("Processed 1,200 of 8,000 records", Some(15)),
        ("Downloading model... 45%", Some(45)),
        ("45% complete", Some(45)),
    ]);
}

#[test]
fn what_only_looks_like_progress() {
    check(&[
        ("11/22/2026 10:00:00 server started", None),
        ("11/22 10:00:00 server started", None),
        ("2026/11/22 10:00:00 listening on :8080", None),
        ("[2026/11/22] listening", None),
        ("see a/b 1/2? for details", None),
        ("GET /api/v1/items/12/80 200", None),
        ("http://example.com/12/80", None),
        ("Compiling foo v1.2.3 (/src/foo)", None),
        ("100% of the tests are green", None),
        ("100% tests passed, 0 tests failed out of 80", None),
        ("95% tests passed, 4 tests failed out of 80", None),
        ("0.00user 0.00system 0:00.01elapsed 100%CPU (0avgtext)", None),
        ("%Cpu(s):  3.1 us,  1.2 sy, 95.3 id", None),
        ("CPU usage: 45%", None),
        ("3 packets transmitted, 3 received, 0% packet loss, time 2003ms", None),
        ("/dev/sda1        80G   36G   44G  45% /", None),
        ("src/foo.py                 80     12    85%   12-15", None),
        ("TOTAL                     800    120    85%", None),
        ("All files   |   85.71 |    66.66 |     100 |   85.71 |", None),
        ("Test coverage: 85%", None),
        ("reduced the size of the download by 45%", None),
        ("50% off everything today", None),
        ("we support this 24/7", None),
        ("  width: 45%;", None),
        ("Mem: 12GB/80GB used", None),
        ("150%", None),
        ("80/12", None),
        ("-5%", None),
        ("progress: 1.2.3%", None),
        ("rate 12 MB/s", None),
        ("=== 3 failed, 12 passed in 1.2s ===", None),
        ("================ test session starts ================", None),
        ("-----BEGIN CERTIFICATE-----", None),
        ("printf(\"%d/%d\", 1, 2)", None),
        ("error[E0308]: mismatched types", None),
        ("git diff a/12 b/80", None),
        ("12 passed (85%) of them slow", None),
        ("connection refused, retrying (1/3)", None),
        ("[1/3] attempt to reach the registry", None),
        ("3/5 tests failed", None),
        ("", None),
    ]);
}

#[test]
fn the_newest_of_the_last_lines_counts() {
    check(&[
        ("10%\r20%\r30%", Some(30)),
        ("10%\r20%\r", Some(20)),
        ("[1/3] one\n[2/3] two\nwarning: unused variable\n\n", Some(66)),
        ("\x1b[2K\x1b[1G\x1b[32m[2/4]\x1b[0m Fetching", Some(50)),
        ("10%\x1b[0K", Some(10)),
    ]);
    let stale = format!("[1/3] one\n{}", "some output\n".repeat(LINES));
    check(&[(&stale, None)]);
    let far = format!("{}\n[1/3] one\n", "é".repeat(TAIL_BYTES));
    check(&[(&far, Some(33))]);
}

#[test]
fn the_message_is_the_line_without_its_bar() {
    let message = |line| read_progress(line).and_then(|progress| progress.message);
    assert_eq!(
        message("    Building [=======>                 ] 12/80: serde").as_deref(),
        Some("Building 12/80: serde")
    );
    assert_eq!(message(" 45%|████▌     | 45/100").as_deref(), Some("45% 45/100"));
    let long = format!("[1/2] {}", "é".repeat(500));
    assert!(message(&long).is_some_and(|text| text.len() <= MESSAGE_BYTES));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(text in any::<String>()) {
        let _ = read_progress(&text);
    }

    #[test]
    fn whatever_looks_like_progress_stays_within_bounds(
        text in "([0-9]{1,20}|[/%.,: \\[\\]()#=>|\r\n]|of|MB|█|\u{1b}\\[|Step|eta|:){0,60}"
    ) {
        if let Some(progress) = read_progress(&text) {
            prop_assert!(progress.percent.is_none_or(|percent| percent <= 100));
            prop_assert!(progress.message.is_some_and(|text| text.len() <= MESSAGE_BYTES));
        }
    }
}
