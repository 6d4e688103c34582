# Sourced by the scripts that play many of Kafka's tools: `say TOOL ARGS...` on the server $bootstrap, and what makes its words
# comparable.
. "$(dirname "${BASH_SOURCE[0]}")/../env.sh"
bootstrap=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
start_tools
title() { echo "== $*"; }
# Ids, addresses, folders and sizes that differ each time; Java's stack traces, which only say where in the tool it was.
plain() {
  sed -E 's/127.0.0.1:[0-9]+/BROKER/g; s/ *\(id: [^)]*\)//; s/TopicId: [A-Za-z0-9_-]{22}/TopicId: ID/; s/[[:space:]]+/ /g;
    s/^\[[0-9-]+ [0-9:,]+\] //; s|("log_dirs":\["?)/[^"]*|\1DIR|g' | { grep -Ev '^[[:space:]]*(at [a-z]|\.\.\. [0-9]+ more|$)' || true; }
}
# said STATUS: what the tool has printed, and how it ended.
said() {
  plain <"$work/out"
  [ "$1" = 0 ] || echo "status $1"
}
# say TOOL ARGS...: what it prints, and how it ends. Its input is the file $INPUT.
say() {
  local status=0
  quick_tool "$work/out" "$1" --bootstrap-server "$bootstrap" "${@:2}" || status=$?
  said $status
}
sorted() { say "$@" | sort; }
# call TOOL ARGS...: one that must do, and of whose words nothing is told.
call() { quick_tool "$work/out" "$1" --bootstrap-server "$bootstrap" "${@:2}" || { cat "$work/out" >&2; return 1; }; }
