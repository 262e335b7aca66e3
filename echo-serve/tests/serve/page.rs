//! The live page in a real browser: it loads, goes on, draws trees, and shows what `/metrics` says.
//!
//! Needs `chromedriver` and Chromium. Without them it skips, which is printed; where `ECHO_REQUIRE`
//! names `browser`, that fails instead.

use crate::testkit::{Server, Setup, one_answer};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A browser, driven over its own little protocol.
struct Browser {
    driver: Child,
    port: u16,
    session: String,
    profile: tempfile::TempDir,
}

impl Browser {
    fn open() -> Option<Self> {
        let mut driver = Command::new("chromedriver");
        let driver = driver.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let Ok(mut driver) = driver else {
            let required = std::env::var("ECHO_REQUIRE").unwrap_or_default();
            let is_required = required.split(',').any(|name| name.trim() == "browser");
            assert!(!is_required, "chromedriver is required and can't be started");
            eprintln!("skipped: chromedriver can't be started; install chromium-driver");
            return None;
        };
        let lines = BufReader::new(driver.stdout.take().expect("it is piped")).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            line.split_once("on port ").and_then(|(_, n)| {
                n.trim_end_matches('.').parse().ok().filter(|&port: &u16| port > 0)
            })
        });
        let profile = tempfile::tempdir().expect("a folder");
        let port = port.expect("chromedriver says its port");
        let mut browser = Browser { driver, port, session: String::new(), profile };
        let folder = format!("--user-data-dir={}", browser.profile.path().display());
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,1700",
            &folder,
        ];
        let options = json!({"args": arguments});
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}});
        let opened = browser.ask("POST", "/session", &wanted);
        browser.session.push_str(opened["sessionId"].as_str().expect("a session"));
        Some(browser)
    }

    /// One command of the protocol.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let mut socket =
            TcpStream::connect(("127.0.0.1", self.port)).expect("chromedriver listens");
        socket.set_read_timeout(Some(Duration::from_secs(90))).expect("a socket");
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close");
        write!(socket, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).expect("it reads");
        let value = one_answer(&mut socket).json()["value"].clone();
        assert!(value["error"].is_null(), "{method} {path}: {value}");
        value
    }

    fn command(&self, name: &str, body: &Value) -> Value {
        self.ask("POST", &format!("/session/{}/{name}", self.session), body)
    }

    /// What `script` returns in the page.
    fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({"script": format!("return {script}"), "args": []}))
    }

    /// Waits until `script` is true in the page.
    fn until(&self, script: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.run(script) != json!(true) {
            assert!(Instant::now() < deadline, "never: {script}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.ask("DELETE", &format!("/session/{}", self.session), &Value::Null);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

#[test]
fn the_page_shows_what_the_metrics_say() {
    let Some(browser) = Browser::open() else { return };
    // So slow that the requests run until the page was seen to show them, on a busy machine, too.
    let server = Server::start(Setup { step: Duration::from_millis(300), ..Setup::usual() });
    browser.command("url", &json!({"url": format!("http://{}/", server.address)}));
    browser.until("Number(document.body.dataset.updates) >= 2");
    assert_eq!(browser.run("document.getElementById('model').textContent"), "sim");
    assert_eq!(browser.run("document.querySelectorAll('.tree').length"), 0);
    let body = json!({"prompt": "x", "max_tokens": 240, "n": 3, "ignore_eos": true});
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| server.complete(&body));
        browser.until("document.querySelectorAll('.tree').length === 3");
        browser.until("Number(document.getElementById('running').firstChild.data) === 3");
        browser.until("parseFloat(document.getElementById('rate').textContent) > 0");
        server.pace.set(Duration::from_millis(5));
        assert_eq!(asking.join().expect("an answer").status, 200);
    });
    // A path of accepted nodes was drawn from a root, beside nodes that were not accepted.
    browser.until("document.querySelectorAll('.edge.accepted').length > 0");
    browser.until("document.querySelectorAll('.node.accepted').length > 3");
    browser.until("document.querySelectorAll('.node:not(.accepted)').length > 0");
    browser.until("document.querySelectorAll('#cost .step').length > 10");
    let updates = browser.run("Number(document.body.dataset.updates)");
    browser.until(&format!("Number(document.body.dataset.updates) > {updates} + 1"));
    let metrics = server.get("/metrics").body;
    for (row, name) in [
        ("steps", "echo_steps_total"),
        ("tokens", "echo_tokens_total"),
        ("nodes-drafted", "echo_drafted_nodes_total"),
        ("nodes-verified", "echo_verified_nodes_total"),
        ("nodes-accepted", "echo_accepted_nodes_total"),
        ("rows-wasted", "echo_wasted_rows_total"),
        ("rows-used", "echo_budget_used_rows_total"),
    ] {
        let shown = browser.run(&format!("document.getElementById('total-{row}').dataset.value"));
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{")));
        let told = line.and_then(|line| line.rsplit(' ').next()).expect("a metric");
        assert_eq!(shown, told, "{name}");
        assert_ne!(told, "0", "{name}");
    }
    let lost =
        "performance.getEntriesByType('resource').filter(r => !r.name.startsWith(location.origin))";
    assert_eq!(browser.run(&format!("{lost}.length")), 0, "the page asked another host");
    drop(server);
    browser.until("document.getElementById('says').textContent === 'no connection'");
}
