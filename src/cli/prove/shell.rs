//! `--shell`: a root prompt in the machine that was judged.

use super::super::terminal;
use crate::prove::guest::{Error, Output};
use crate::prove::qemu::Overrun;
use crate::prove::shell::{Ask, printed, script};
use std::sync::mpsc::{Sender, channel};

const WELCOME: &str = "\nThe machine is still there, as it was judged; this is root in it. Each line is a bash of its own: `cd` is \
    kept, variables are not, and nothing is read from the keyboard.\n`exit` or Ctrl-D throws the machine away.\n";

/// Asks for lines and shows what they print, until the person has had enough or the machine is gone.
pub(super) fn shell(ask: &Sender<Ask>, name: &str) {
    terminal::err(WELCOME);
    prompt(ask, name, &mut terminal::line, &mut |said| match said {
        Said::Out(text) => terminal::out(&text),
        Said::Err(text) => terminal::err(&text),
    });
}

#[derive(Debug, PartialEq)]
enum Said {
    Out(String),
    Err(String),
}

fn prompt(ask: &Sender<Ask>, name: &str, line: &mut dyn FnMut() -> Option<String>, say: &mut dyn FnMut(Said)) {
    let mut folder = "/".to_owned();
    loop {
        say(Said::Err(format!("root@{name}:{}# ", tame(folder.as_bytes()))));
        let Some(typed) = line() else { break say(Said::Err("\n".to_owned())) };
        match typed.trim() {
            "" => continue,
            "exit" | "logout" => break,
            _ => {}
        }
        let (answer, answered) = channel();
        let sent = ask.send(Ask { script: script(&folder, &typed), answer });
        match sent.ok().and_then(|()| answered.recv().ok()) {
            Some(Ok(Output { status, stdout, stderr })) => {
                let (text, ended) = printed(&stdout);
                folder = ended.unwrap_or(folder);
                say(Said::Out(tame(text)));
                say(Said::Err(tame(&stderr)));
                if status != 0 {
                    say(Said::Err(format!("status {status}\n")));
                }
            }
            Some(Err(why)) => {
                say(Said::Err(format!("hardtack: {why}\n")));
                if matches!(why, Error::Overrun(Overrun::Gone | Overrun::Interrupted)) {
                    break;
                }
            }
            None => break,
        }
    }
}

// What a machine prints must not work the terminal of the one who looks.
fn tame(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Types lines at a machine that answers with what it was asked; gives all that was said.
    fn typed(lines: &[&str], answers: Vec<Result<Output, Error>>) -> (Vec<Said>, Vec<String>) {
        let (ask, asked) = channel::<Ask>();
        let machine = std::thread::spawn(move || {
            let mut scripts = Vec::new();
            for answer in answers {
                let Ok(ask) = asked.recv() else { break };
                scripts.push(ask.script);
                ask.answer.send(answer).unwrap();
            }
            scripts
        });
        let (mut lines, mut said) = (lines.iter(), Vec::new());
        prompt(&ask, "box", &mut || lines.next().map(|l| (*l).to_owned()), &mut |s| said.push(s));
        drop(ask);
        said.retain(|s| !matches!(s, Said::Out(t) | Said::Err(t) if t.is_empty()));
        (said, machine.join().unwrap())
    }

    fn answer(status: u8, stdout: &str, stderr: &str) -> Result<Output, Error> {
        Ok(Output { status, stdout: stdout.into(), stderr: stderr.into() })
    }

    fn err(text: &str) -> Said {
        Said::Err(text.to_owned())
    }

    #[test]
    fn lines_go_in_and_what_they_print_comes_out() {
        let answers = vec![answer(0, "\0/usr", ""), answer(3, "a\u{1b}[2Jb\n\0/usr", "oh\n")];
        let (said, scripts) = typed(&["cd usr\n", "\n", "two words\n"], answers);
        let out = Said::Out("a\u{fffd}[2Jb\n".to_owned());
        let here = || err("root@box:/usr# ");
        assert_eq!(said, [err("root@box:/# "), here(), here(), out, err("oh\n"), err("status 3\n"), here(), err("\n")]);
        assert_eq!(scripts, [script("/", "cd usr\n"), script("/usr", "two words\n")]);
    }

    #[test]
    fn it_ends_with_exit_and_with_the_machine() {
        assert_eq!(typed(&["exit\n", "true\n"], vec![answer(0, "", "")]), (vec![err("root@box:/# ")], vec![]));
        let prompt = || err("root@box:/# ");
        let gone = vec![Err(Error::Overrun(Overrun::Gone))];
        assert_eq!(typed(&["poweroff\n", "true\n"], gone).0, [prompt(), err("hardtack: QEMU ended\n")]);
        // What takes too long is no end of it.
        let idle = Err(Error::Overrun(Overrun::Idle(Duration::from_secs(9))));
        let (said, _) = typed(&["sleep 1d\n", "echo x\n"], vec![idle, answer(0, "x\n", "")]);
        assert_eq!(said[1], err("hardtack: the machine did nothing for 9 s\n"));
        assert_eq!(said[3], Said::Out("x\n".to_owned()));
        // A machine that is no longer lent.
        assert_eq!(typed(&["true\n"], vec![]).0, [prompt()]);
    }
}
