"""What runs on a phone: the script that Termux:Boot starts, what it runs inside Debian, and how both are stopped.

Termux has no service manager; these scripts are to the agent there what the systemd unit is on a board. They are for any
POSIX shell (Termux's ``sh`` is dash); ``sleep`` is that of coreutils, which knows parts of a second.
"""

from __future__ import annotations

import shlex

DISTRIBUTION = "debian"
FOLDER = ".secateur"
"""Below Termux's home: the log, notes of what was made, process ids."""
BOOT = ".termux/boot/secateur"
"""Below Termux's home: run by the app Termux:Boot when the phone has started
(https://github.com/termux/termux-boot#how-to-use)."""
INSIDE = "inside"
"""In `FOLDER`: what runs inside Debian."""
MOUNT = "/mnt/secateur"
"""`FOLDER`, seen from inside Debian."""
LOG_BYTES = 1 << 20
"""A log that is longer becomes ``agent.log.1``, in place of the one before."""

_FUNCTIONS = """\
# Whether a process is there, and is what it is taken for: numbers are used again.
running() { [ -n "$1" ] && kill -0 "$1" 2>/dev/null && grep -q "$2" "/proc/$1/cmdline" 2>/dev/null; }
"""

_BOOT = """\
#!@PREFIX@/bin/sh
# Written by 'secateur flash termux'; changes are lost at the next one. Termux:Boot runs it when the phone has started.
# It keeps the agent running inside Debian (proot-distro), and starts it again when it ends.
HOME=@HOME@
PREFIX=@PREFIX@
PATH="$PREFIX/bin:$PATH"
PD_FORCE_NO_COLORS=1
export HOME PREFIX PATH PD_FORCE_NO_COLORS
folder="$HOME/@FOLDER@"
log="$folder/agent.log"
@FUNCTIONS@
mkdir -p "$folder"
kept=$(cat "$folder/runner.pid" 2>/dev/null)
[ "$kept" != $$ ] && running "$kept" boot/secateur && exit 0
echo $$ > "$folder/runner.pid"
# One that outlived the script that started it.
left=$(cat "$folder/agent.pid" 2>/dev/null)
running "$left" secateur && kill "$left"
rm -f "$folder/agent.pid"

# With the wake lock, Android does not put the processor to sleep while the screen is off.
if command -v termux-wake-lock >/dev/null; then termux-wake-lock </dev/null >/dev/null 2>&1 & fi

say() { echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) secateur: $*" >> "$log"; }

keep_log() {
    size=0
    [ -f "$log" ] && size=$(wc -c < "$log")
    while IFS= read -r line; do
        printf '%s\\n' "$line" >> "$log"
        size=$((size + ${#line} + 1))
        if [ "$size" -gt @LOG_BYTES@ ]; then
            mv -f "$log" "$log.1"
            size=0
        fi
    done
}

one_run() {
    rm -f "$folder/ended"
    {
        sh -c 'echo $$ > "$0"; exec "$@"' "$folder/proot.pid" \\
            proot-distro login --isolated --bind "$folder:@MOUNT@" @DISTRIBUTION@ -- \\
            /bin/sh @MOUNT@/@INSIDE@ </dev/null 2>&1
        code=$?
        # proot's own status is that of whatever ended last; what runs inside knows better.
        [ -f "$folder/ended" ] || echo "$code" > "$folder/ended"
    } | keep_log
}

stopping=""
rounds=0
trap '' HUP
trap 'stopping=yes' TERM INT
pause=@FIRST_PAUSE_S@
while [ -z "$stopping" ]; do
    began=$(date +%s)
    one_run &
    job=$!
    while kill -0 "$job" 2>/dev/null; do
        if [ -z "$stopping" ]; then
            wait "$job"
        else
            agent=$(cat "$folder/agent.pid" 2>/dev/null)
            running "$agent" secateur && kill "$agent" 2>/dev/null
            # What the agent has left running keeps proot; at this signal proot ends all that it holds.
            [ "$rounds" -ge 40 ] && kill -QUIT "$(cat "$folder/proot.pid")" 2>/dev/null
            rounds=$((rounds + 1))
            sleep 0.2
        fi
    done
    [ -n "$stopping" ] && break
    ran=$(($(date +%s) - began))
    # One that ran for long has not ended for what ended the one before.
    [ "$ran" -ge @LONG_S@ ] && pause=@FIRST_PAUSE_S@
    say "the agent has ended after $ran s (exit status $(cat "$folder/ended" 2>/dev/null)); it starts again in $pause s"
    sleep "$pause" &
    nap=$!
    wait "$nap"
    [ -n "$stopping" ] && kill "$nap" 2>/dev/null
    pause=$((pause * 2))
    [ "$pause" -gt @LONGEST_PAUSE_S@ ] && pause=@LONGEST_PAUSE_S@
done
say "stopped"
rm -f "$folder/runner.pid" "$folder/agent.pid" "$folder/proot.pid" "$folder/ended"
exit 0
"""

_INSIDE = """\
#!/bin/sh
# Written by 'secateur flash termux'; changes are lost at the next one. Runs the agent once, inside Debian.
# As the systemd unit of a board does: a new release that was started too often without staying up is taken back.
setup=/opt/secateur/secateur-setup.pyz
cd /
/usr/bin/python3 -I "$setup" before-start
/opt/secateur/current/bin/python -I -m secateur_agent run --config /etc/secateur/agent.toml &
agent=$!
echo "$agent" > @MOUNT@/agent.pid
trap 'kill "$agent"' TERM
(
    n=0
    while [ "$n" -lt @TRIAL_S@ ]; do
        sleep 1
        kill -0 "$agent" 2>/dev/null || exit 0
        n=$((n + 1))
    done
    exec /usr/bin/python3 -I "$setup" after-start
) &
wait "$agent"
code=$?
rm -f @MOUNT@/agent.pid
echo "$code" > @MOUNT@/ended
exit "$code"
"""

_STOP = """\
@FUNCTIONS@
folder="$HOME/@FOLDER@"
runner=$(cat "$folder/runner.pid" 2>/dev/null)
if running "$runner" boot/secateur; then
    kill "$runner"
    n=0
    while kill -0 "$runner" 2>/dev/null && [ "$n" -lt 150 ]; do sleep 0.2; n=$((n + 1)); done
    kill -9 "$runner" 2>/dev/null && sleep 0.2
fi
agent=$(cat "$folder/agent.pid" 2>/dev/null)
running "$agent" secateur && kill -9 "$agent"
rm -f "$folder/runner.pid" "$folder/agent.pid" "$folder/proot.pid"
exit 0
"""

_START = """\
@FUNCTIONS@
script="$HOME/@BOOT@"
up() { running "$(cat "$HOME/@FOLDER@/runner.pid" 2>/dev/null)" boot/secateur; }
as_child() {
    if command -v setsid >/dev/null; then setsid "$script" </dev/null >/dev/null 2>&1 &
    else nohup "$script" </dev/null >/dev/null 2>&1 & fi
}
@AS_SERVICE@
as_child
n=0
while ! up && [ "$n" -lt 50 ]; do sleep 0.2; n=$((n + 1)); done
up
"""

# What Termux:Boot does itself. A process of adb ends with adb, one of the app does not.
_AS_SERVICE = """\
am startservice --user 0 -n com.termux/com.termux.app.TermuxService -a com.termux.service_execute \\
    -d "com.termux.file:$script" --ez com.termux.execute.background true </dev/null >/dev/null 2>&1
n=0
while ! up && [ "$n" -lt 50 ]; do sleep 0.2; n=$((n + 1)); done
up && exit 0
"""


def boot_script(
    prefix: str,
    home: str,
    *,
    first_pause_s: int = 2,
    longest_pause_s: int = 300,
    long_s: int = 600,
    log_bytes: int = LOG_BYTES,
) -> str:
    """Return the script for Termux:Boot.

    Args:
        prefix: Termux's ``$PREFIX``.
        home: Termux's home.
        first_pause_s: before the agent is started again; twice as long after each end.
        longest_pause_s: it grows to this.
        long_s: an agent that ran so long begins with the first pause again.
        log_bytes: size of the log.
    """
    values = {
        "FIRST_PAUSE_S": str(first_pause_s),
        "LONGEST_PAUSE_S": str(longest_pause_s),
        "LONG_S": str(long_s),
        "LOG_BYTES": str(log_bytes),
    }
    shebang, _, rest = _BOOT.partition("\n")
    filled = _filled(rest, {"PREFIX": shlex.quote(prefix), "HOME": shlex.quote(home), **values})
    return f"{shebang.replace('@PREFIX@', prefix)}\n{filled}"


def inside_script(trial_s: int = 60) -> str:
    """Return what runs inside Debian; a release that stays up for ``trial_s`` seconds has shown that it works."""
    return _filled(_INSIDE, {"TRIAL_S": str(trial_s)})


def stop_command() -> str:
    """Return the command that stops the script and the agent; it does nothing where neither runs."""
    return _filled(_STOP, {})


def start_command(in_app: bool) -> str:
    """Return the command that starts the script now; its exit status is 0 if it runs then.

    Args:
        in_app: whether what runs the command is a process of the app, so that its children live as long as the app does.
    """
    return _filled(_START, {"AS_SERVICE": "" if in_app else _AS_SERVICE})


def _filled(text: str, values: dict[str, str]) -> str:
    common = {
        "FUNCTIONS": _FUNCTIONS,
        "FOLDER": FOLDER,
        "BOOT": BOOT,
        "MOUNT": MOUNT,
        "INSIDE": INSIDE,
        "DISTRIBUTION": DISTRIBUTION,
    }
    for name, value in {**common, **values}.items():
        text = text.replace(f"@{name}@", value)
    return text
