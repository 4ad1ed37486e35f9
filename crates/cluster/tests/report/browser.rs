//! A headless Chromium, driven over a pipe by its DevTools protocol: no port, no other program.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use super::Outcome;

/// What Chromium is called, the smallest first.
const PROGRAMS: [&str; 5] = [
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// A machine may have much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one window, in folders of its own.
pub(crate) struct Browser {
    child: Child,
    commands: Option<ChildStdin>,
    messages: Receiver<Value>,
    session: Option<String>,
    last: u64,
    /// What happened that nobody asked for.
    events: Vec<Value>,
    folder: tempfile::TempDir,
}

impl Browser {
    /// Starts it, with an empty page. None only where the tests were told that there is no browser.
    #[expect(clippy::print_stderr, reason = "what was left out is said where tests speak")]
    pub(crate) fn start() -> Outcome<Option<Self>> {
        let program = match program() {
            Err(error) if std::env::var_os("PGWARD_TEST_NO_BROWSER").is_some() => {
                eprintln!("the page was not looked at: {error}");
                return Ok(None);
            }
            program => program?,
        };
        let folder = tempfile::Builder::new().prefix("pgward-browser-").tempdir()?;
        // It reads commands from descriptor 3 and writes to 4; ours are its standard input and output.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >&2", "sh"])
            .arg(program)
            .args([
                "--headless",
                "--remote-debugging-pipe",
                // Root has no sandbox; the pages are ours.
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--no-first-run",
                "--hide-scrollbars",
            ])
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .arg("about:blank")
            .env("HOME", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.path().join("log"))?)
            .process_group(0)
            .spawn()?;
        let commands = child.stdin.take();
        let (sender, messages) = channel();
        let pipe = child.stdout.take().ok_or("no pipe from the browser")?;
        std::thread::spawn(move || {
            for message in BufReader::new(pipe).split(0).map_while(Result::ok) {
                if let Ok(message) = serde_json::from_slice(&message)
                    && sender.send(message).is_err()
                {
                    break;
                }
            }
        });
        let mut browser =
            Self { child, commands, messages, session: None, last: 0, events: Vec::new(), folder };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))?;
        let target = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", target)?;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}))?;
        }
        Ok(Some(browser))
    }

    /// Shows a page in a window of this width, in light or dark.
    pub(crate) fn show(&mut self, page: &str, width: u32, dark: bool) -> Outcome {
        let path = self.folder.path().join("page.html");
        fs::write(&path, page)?;
        let metrics =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", metrics)?;
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme },
            // Nothing is on its way while it is looked at.
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.call("Emulation.setEmulatedMedia", media)?;
        self.events.clear();
        let url = format!("file://{}", path.display());
        let going = self.call("Page.navigate", json!({ "url": url }))?;
        if let Some(error) = going["errorText"].as_str() {
            return Err(format!("{url}: {error}").into());
        }
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.next()?;
            self.events.push(event);
        }
        Ok(())
    }

    /// The value of an expression in the page.
    pub(crate) fn value(&mut self, expression: &str) -> Outcome<Value> {
        let parameters = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true
        });
        let answer = self.call("Runtime.evaluate", parameters)?;
        match answer.get("exceptionDetails") {
            Some(exception) => Err(format!("{expression}: {exception:#}").into()),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// Waits until an expression is true.
    pub(crate) fn wait_for(&mut self, expression: &str) -> Outcome {
        let since = Instant::now();
        while self.value(expression)? != json!(true) {
            if since.elapsed() > PATIENCE {
                let at = "`${location.hash} ${document.activeElement.outerHTML.slice(0, 300)}`";
                return Err(format!("{expression} does not come true: {}", self.value(at)?).into());
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Presses a key, by the name that the web has for it.
    pub(crate) fn press(&mut self, key: &str) -> Outcome {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            " " => (32, " "),
            "ArrowDown" => (40, ""),
            "ArrowUp" => (38, ""),
            other => return Err(format!("the key {other} is not known here").into()),
        };
        let name = if key == " " { "Space" } else { key };
        let event = |kind: &str| {
            let mut event = json!({
                "type": kind, "key": key, "code": name, "windowsVirtualKeyCode": code
            });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            event
        };
        let down = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
        self.call("Input.dispatchKeyEvent", event(down))?;
        self.call("Input.dispatchKeyEvent", event("keyUp"))?;
        Ok(())
    }

    /// The whole page as a picture (PNG, in base64).
    pub(crate) fn picture(&mut self) -> Outcome<String> {
        let parameters = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.call("Page.captureScreenshot", parameters)?;
        Ok(answer["data"].as_str().unwrap_or_default().to_owned())
    }

    /// What the page would be on paper (PDF, in base64).
    pub(crate) fn paper(&mut self) -> Outcome<String> {
        let answer = self.call("Page.printToPDF", json!({ "preferCSSPageSize": true }))?;
        Ok(answer["data"].as_str().unwrap_or_default().to_owned())
    }

    /// What the browser complained of since the page was shown: errors, and what the page's policy
    /// forbade.
    pub(crate) fn complaints(&mut self) -> Outcome<Vec<String>> {
        // What was said before this answer has come with it.
        self.value("1")?;
        let of = |event: &Value| match event["method"].as_str()? {
            "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded" => {
                Some(event["params"].to_string())
            }
            _ => None,
        };
        Ok(self.events.iter().filter_map(of).collect())
    }

    /// What was asked for since the page was shown: addresses.
    pub(crate) fn requests(&self) -> Vec<&str> {
        let sent =
            self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.filter_map(|event| event["params"]["request"]["url"].as_str()).collect()
    }

    fn call(&mut self, method: &str, parameters: Value) -> Outcome<Value> {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        self.commands.as_mut().ok_or("no pipe to the browser")?.write_all(&bytes)?;
        loop {
            let answer = self.next().map_err(|error| format!("{method}: {error}"))?;
            if answer["id"] != self.last {
                self.events.push(answer);
            } else if let Some(error) = answer.get("error") {
                return Err(format!("{method}: {error}").into());
            } else {
                return Ok(answer["result"].clone());
            }
        }
    }

    fn next(&mut self) -> Outcome<Value> {
        self.messages.recv_timeout(PATIENCE).map_err(|error| {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            format!("the browser says nothing: {error}\n{log}").into()
        })
    }
}

/// It and all that it started end with it.
impl Drop for Browser {
    fn drop(&mut self) {
        self.commands.take();
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

fn program() -> Outcome<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    PROGRAMS
        .iter()
        .flat_map(|program| folders.iter().map(move |folder| folder.join(program)))
        .find(|program| program.is_file())
        .ok_or_else(|| "no Chromium is there: apt-get install chromium-headless-shell".into())
}
