//! The page in a browser: nothing is complained of, everything can be read and reached with the
//! keyboard. With `PGWARD_SCREENSHOTS` set to a folder, pictures are left there to be looked at.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cluster::{report, verify::Verification};
use serde_json::{Value, json};

use super::{Outcome, browser::Browser, sample};

const WIDE: u32 = 1280;
const NARROW: u32 = 390;

fn samples() -> [(&'static str, Verification); 4] {
    [
        ("proved", sample::mesh(3)),
        ("troubled", sample::troubled()),
        ("twelve", sample::mesh(12)),
        ("evil", sample::evil()),
    ]
}

#[test]
fn it_looks_as_it_should_in_every_window() -> Outcome {
    let Some(mut browser) = Browser::start()? else { return Ok(()) };
    for (name, verification) in samples() {
        let page = report::html(&verification);
        for (width, dark) in [(WIDE, false), (WIDE, true), (NARROW, false), (NARROW, true)] {
            let place = format!("{name}, {width} px, dark: {dark}");
            browser.show(&page, width, dark)?;
            assert_eq!(browser.complaints()?, [""; 0], "{place}");
            assert_eq!(browser.requests().len(), 1, "{place}: {:?}", browser.requests());
            let wider = browser.value(WIDER)?;
            assert_eq!(wider, json!([]), "{place}: wider than the window");
            // With all of it open.
            browser.value("document.getElementById('open').click()")?;
            let wider = browser.value(WIDER)?;
            assert_eq!(wider, json!([]), "{place}: wider than the window");
            let pale = browser.value(PALE)?;
            assert_eq!(pale, json!([]), "{place}: contrast below 4.5");
            assert_eq!(browser.complaints()?, [""; 0], "{place}");
            if let Ok(folder) = std::env::var("PGWARD_SCREENSHOTS") {
                browser.show(&page, width, dark)?;
                let scheme = if dark { "dark" } else { "light" };
                let file = Path::new(&folder).join(format!("{name}-{width}-{scheme}.png"));
                std::fs::write(file, STANDARD.decode(browser.picture()?)?)?;
            }
        }
        if let Ok(folder) = std::env::var("PGWARD_SCREENSHOTS") {
            let file = Path::new(&folder).join(format!("{name}.pdf"));
            std::fs::write(file, STANDARD.decode(browser.paper()?)?)?;
        }
    }
    Ok(())
}

/// Elements that reach out of the window, unless they can be moved within something that does not.
const WIDER: &str = "
    document.documentElement.scrollWidth <= innerWidth ? [] :
    [...document.querySelectorAll('body *')]
        .filter(one => !one.closest('.scroll') && one.getBoundingClientRect().right > innerWidth)
        .map(one => `${one.localName}.${one.getAttribute('class')} ${one.getBoundingClientRect().right}`)
        .concat([`the page is ${document.documentElement.scrollWidth} wide`])";

/// Texts whose colour is too near to what is behind them (WCAG 2.2, 1.4.3).
const PALE: &str = "
    (() => {
        const channels = (text) => text.match(/[\\d.]+/g).map(Number);
        const luminance = (rgb) => {
            const [r, g, b] = rgb.slice(0, 3).map((part) => {
                const value = part / 255;
                return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const contrast = (one, other) => {
            const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
            return (high + 0.05) / (low + 0.05);
        };
        const behind = (element) => {
            const box = element.localName === 'text' && element.parentElement.querySelector('.box');
            if (box) return channels(getComputedStyle(box).fill);
            for (let at = element; at; at = at.parentElement) {
                const colour = channels(getComputedStyle(at).backgroundColor);
                if (colour.length < 4 || colour[3] > 0) return colour;
            }
            return [255, 255, 255];
        };
        const pale = new Set();
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        let seen = 0;
        while (walker.nextNode()) {
            const text = walker.currentNode, element = text.parentElement;
            if (!text.data.trim() || !element.checkVisibility() || element.closest('script')) continue;
            const style = getComputedStyle(element);
            const colour = channels(element.localName === 'text' ? style.fill : style.color);
            const ratio = contrast(colour, behind(element));
            seen += 1;
            if (ratio < 4.5) pale.add(`${element.localName}.${element.className}: ${ratio} ${text.data}`);
        }
        return seen > 50 ? [...pale] : ['hardly any text was looked at'];
    })()";

/// What a screen reader needs: names, headings in their order, headers of tables.
#[test]
fn it_can_be_listened_to() -> Outcome {
    let Some(mut browser) = Browser::start()? else { return Ok(()) };
    for (name, verification) in samples() {
        browser.show(&report::html(&verification), WIDE, false)?;
        let wrong = browser.value(
            "(() => {
                const wrong = [];
                const all = (selector) => [...document.querySelectorAll(selector)];
                const levels = all('h1, h2, h3, h4').map((one) => Number(one.localName[1]));
                if (levels.filter((level) => level === 1).length !== 1) wrong.push('one h1');
                levels.reduce((before, level) => {
                    if (level > before + 1) wrong.push(`h${level} after h${before}`);
                    return level;
                }, 0);
                for (const landmark of ['header', 'nav', 'main', 'footer', '[role=search]']) {
                    if (all(landmark).length !== 1) wrong.push(landmark);
                }
                for (const section of all('section, article')) {
                    const by = document.getElementById(section.getAttribute('aria-labelledby'));
                    if (!by || !by.textContent.trim()) wrong.push(`section ${section.id}`);
                }
                const landmarks = [
                    ...all('main section').map((one) => one.querySelector('h2').textContent),
                    ...all('[role=region]').map((one) => one.getAttribute('aria-label')),
                ];
                for (const [index, name] of landmarks.entries()) {
                    if (landmarks.indexOf(name) !== index) wrong.push(`two are called ${name}`);
                }
                for (const node of all('svg a.node')) {
                    const seen = [...node.querySelectorAll('text')].map((one) => one.textContent);
                    const label = node.getAttribute('aria-label');
                    if (!seen.some((one) => one.endsWith('…')) && !label.includes(seen.join(' '))) {
                        wrong.push(`${label} has no ${seen}`);
                    }
                }
                for (const table of all('table')) {
                    if (!table.caption) wrong.push('a table without a caption');
                }
                for (const header of all('th')) {
                    if (!['row', 'col'].includes(header.scope)) wrong.push(`th ${header.textContent}`);
                    if (!header.textContent.trim()) wrong.push('an empty th');
                }
                for (const one of all('a, button, select, summary')) {
                    const name = one.getAttribute('aria-label') || one.textContent ||
                        (one.labels && one.labels[0] && one.labels[0].textContent) || '';
                    if (!name.trim()) wrong.push(`no name: ${one.outerHTML.slice(0, 100)}`);
                }
                for (const svg of all('svg')) {
                    if (svg.getAttribute('aria-hidden') !== 'true' &&
                        !svg.getAttribute('aria-labelledby')) wrong.push('an svg without a name');
                }
                const ids = all('[id]').map((one) => one.id);
                if (new Set(ids).size !== ids.length) wrong.push('an id twice');
                return wrong;
            })()",
        )?;
        assert_eq!(wrong, json!([]), "{name}");
    }
    Ok(())
}

/// Presses Tab until the focus is where it should be.
fn go_to(browser: &mut Browser, selector: &str) -> Outcome {
    for _ in 0..400 {
        if browser.value(&format!("document.activeElement.matches({selector:?})"))? == json!(true) {
            let outline = "getComputedStyle(document.activeElement).outlineStyle !== 'none' || \
                 document.activeElement.closest('svg') !== null";
            assert_eq!(browser.value(outline)?, json!(true), "{selector}: the focus is seen");
            return Ok(());
        }
        browser.press("Tab")?;
    }
    Err(format!("Tab does not lead to {selector}").into())
}

fn shown(browser: &mut Browser, selector: &str) -> Outcome<Value> {
    browser.value(&format!(
        "[...document.querySelectorAll({selector:?})].filter((one) => one.checkVisibility()).length"
    ))
}

#[test]
fn the_keyboard_is_enough() -> Outcome {
    let Some(mut browser) = Browser::start()? else { return Ok(()) };
    let verification = sample::troubled();
    browser.show(&report::html(&verification), WIDE, false)?;

    // The first stop leads past everything.
    go_to(&mut browser, "a.skip")?;
    browser.press("Enter")?;
    assert_eq!(browser.value("document.activeElement.id")?, json!("main"));

    // By node: the links of node-2, and no other.
    let all = verification.links.len();
    assert_eq!(shown(&mut browser, "details.link")?, json!(all));
    go_to(&mut browser, "#by-node")?;
    browser.press("ArrowDown")?;
    browser.press("ArrowDown")?;
    assert_eq!(browser.value("document.getElementById('by-node').value")?, json!("1"));
    assert_eq!(shown(&mut browser, "details.link")?, json!(8));
    let said = browser.value("document.getElementById('shown').textContent")?;
    let said = said.as_str().unwrap_or_default().to_owned();
    assert!(said.ends_with(" entries are shown") && !said.starts_with("0 "), "{said}");

    // And by state: those of them that are not proved.
    go_to(&mut browser, "#by-state")?;
    for _ in 0..3 {
        browser.press("ArrowDown")?;
    }
    assert_eq!(browser.value("document.getElementById('by-state').value")?, json!("bad"));
    assert_eq!(shown(&mut browser, "details.link")?, json!(2));
    assert_eq!(shown(&mut browser, "#access tr.entry")?, json!(0));
    assert_eq!(shown(&mut browser, "#access .none")?, json!(1));

    // Everything again; then by code.
    go_to(&mut browser, "#reset")?;
    browser.press("Enter")?;
    assert_eq!(shown(&mut browser, "details.link")?, json!(all));
    browser.value("document.getElementById('by-state').focus()")?;
    go_to(&mut browser, "#by-code")?;
    browser.press("ArrowDown")?;
    assert_eq!(browser.value("document.getElementById('by-code').value")?, json!("PGW001"));
    assert_eq!(shown(&mut browser, "#findings li.entry")?, json!(1));
    assert_eq!(shown(&mut browser, "article.code")?, json!(1));
    go_to(&mut browser, "#reset")?;
    browser.press(" ")?;
    assert_eq!(shown(&mut browser, "article.code")?, json!(9));

    // A link's evidence opens and closes, and the picture and the matrix lead to it.
    go_to(&mut browser, "details.link summary")?;
    let open = "document.activeElement.parentElement.open";
    assert_eq!(browser.value(open)?, json!(false));
    browser.press("Enter")?;
    assert_eq!(browser.value(open)?, json!(true));
    browser.press(" ")?;
    assert_eq!(browser.value(open)?, json!(false));
    for origin in ["svg.cluster a.link", "table.matrix a"] {
        browser.value("document.getElementById('main').focus()")?;
        go_to(&mut browser, origin)?;
        let target = browser.value("document.activeElement.getAttribute('href')")?;
        browser.press("Enter")?;
        // The browser goes there in its own time.
        let target = target.as_str().unwrap_or_default().to_owned();
        browser
            .wait_for(&format!("document.activeElement.matches('summary{target}') && {open}"))?;
    }
    assert_eq!(browser.complaints()?, [""; 0]);
    Ok(())
}

/// On paper everything is open, and nothing is there that only works on a screen.
#[test]
fn it_can_be_printed() -> Outcome {
    let Some(mut browser) = Browser::start()? else { return Ok(()) };
    browser.show(&report::html(&sample::mesh(3)), WIDE, true)?;
    let closed = "document.querySelectorAll('main details:not([open])').length";
    let before = browser.value(closed)?;
    assert_ne!(before, json!(0));
    browser.value(
        "addEventListener('beforeprint', () => { window.left = document.querySelectorAll('main \
         details:not([open])').length; })",
    )?;
    let paper = STANDARD.decode(browser.paper()?)?;
    assert!(paper.starts_with(b"%PDF-"));
    assert_eq!(browser.value("window.left")?, json!(0));
    assert_eq!(browser.value(closed)?, before, "afterwards it is as it was");

    // Of 132 links only what somebody has opened.
    browser.show(&report::html(&sample::mesh(12)), WIDE, false)?;
    browser.value("document.querySelector('.plenty details').open = true")?;
    browser.value(
        "addEventListener('beforeprint', () => { window.left = document.querySelectorAll('.plenty \
         details[open]').length; })",
    )?;
    browser.paper()?;
    assert_eq!(browser.value("window.left")?, json!(1));
    Ok(())
}

/// The policy is in force: what somebody would put into the page does nothing, and is complained of.
#[test]
fn the_policy_is_in_force() -> Outcome {
    let Some(mut browser) = Browser::start()? else { return Ok(()) };
    let page = report::html(&sample::mesh(2));
    for evil in [
        "<script>window.evil = 1</script>",
        "<img src=\"x.png\" onerror=\"window.evil = 1\">",
        "<p style=\"color: red\">x</p>",
        "<iframe src=\"data:text/html,x\"></iframe>",
    ] {
        let spoiled = page.replace("<footer>", &format!("{evil}<footer>"));
        browser.show(&spoiled, WIDE, false)?;
        let complaints = browser.complaints()?;
        assert!(complaints.iter().any(|one| one.contains("Content Security Policy")), "{evil}");
        assert_eq!(browser.value("typeof window.evil")?, json!("undefined"), "{evil}");
    }
    Ok(())
}
