# Sourced by the scripts below tests/: where installed things live, free ports, and servers that are ended by their pid.
set -euo pipefail
TESTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/strata
ME=$(basename "$0")

die() { echo "$ME: $*" >&2; exit 1; }
need() { command -v "$1" >/dev/null || die "$1 is needed${2:+ ($2)}"; }

# free_port [N]: N different ports on which nothing listens now. Below the range that the kernel hands out to clients.
free_port() {
  python3 - "${1:-1}" <<'P'
import random, socket, sys
held = []
while len(held) < int(sys.argv[1]):
    s = socket.socket()
    try:
        s.bind(("127.0.0.1", random.randrange(15000, 32000)))
        held.append(s)
    except OSError:
        s.close()
print(*[s.getsockname()[1] for s in held])
P
}

# alive PID: runs, and is not a zombie that nobody has waited for.
alive() {
  local state; state=$(ps -o stat= -p "$1" 2>/dev/null) || return 1
  [ "${state:0:1}" != Z ]
}

# await SECONDS PID LOG COMMAND...: until the command succeeds; dies with the end of the log when the server or the time is gone.
await() {
  local end=$((SECONDS + $1)) pid=$2 log=$3; shift 3
  until "$@" >/dev/null 2>&1; do
    alive "$pid" || { tail -n 20 "$log" >&2; die "the server ended before it was ready"; }
    [ $SECONDS -lt $end ] || { tail -n 20 "$log" >&2; kill -KILL "$pid"; die "the server is not ready in time"; }
    sleep 0.1
  done
}

# end_pid SIGNAL FILE: ends the process that the file names and waits for it. Fails when it must be killed after 30 s.
end_pid() {
  local pid i; pid=$(cat "$2")
  kill "-$1" "$pid" 2>/dev/null || true
  for i in $(seq 300); do alive "$pid" || break; sleep 0.1; done
  rm -f "$2"
  if alive "$pid"; then kill -KILL "$pid"; echo "$ME: had to kill $2 ($pid)" >&2; return 1; fi
}
