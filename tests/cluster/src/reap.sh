# Deletes the cluster in folder $1: kills every process that runs a program of the folder, then removes the folder.
# It starts when its standard input ends, so it runs however the owner ends: by return, panic, Ctrl-C or kill -9.
# The word `keep` on standard input disarms it.
# A signal meant for the owner's terminal must not stop it.
trap '' HUP INT TERM
read -r word && [ "$word" = keep ] && exit 0

# A process is ours when its argv[0] lies in our folder: no name and no old pid file can hit a stranger.
folder=$(printf '%s' "$1" | sed 's/[][\.*^$]/\\&/g')
ours() {
  grep -als "^$folder/" /proc/[0-9]*/cmdline | while IFS=/ read -r _ _ pid _; do echo "$pid"; done
}

# The launcher may be in the middle of starting programs: look again until none is left.
round=0
while pids=$(ours); [ -n "$pids" ] && [ $round -lt 100 ]; do
  kill -KILL $pids 2>/dev/null
  round=$((round + 1))
  sleep 0.05
done
rm -rf -- "$1"
