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
# The containers of a real node are not among them; they end with the first process of its namespaces, which is.
round=0
while pids=$(ours); [ -n "$pids" ] && [ $round -lt 100 ]; do
  kill -KILL $pids 2>/dev/null
  round=$((round + 1))
  sleep 0.05
done

# The control groups of a real node can go when the last of its processes is gone, which takes the kernel a moment.
if [ -f "$1/cgroup" ]; then
  group=$(cat "$1/cgroup")
  round=0
  while [ $round -lt 100 ]; do
    left=
    for top in /sys/fs/cgroup/"$group" /sys/fs/cgroup/*/"$group"; do
      [ -d "$top" ] || continue
      find "$top" -depth -type d -exec rmdir {} + 2>/dev/null
      [ -d "$top" ] && left=$top
    done
    [ -z "$left" ] && break
    round=$((round + 1))
    sleep 0.05
  done
fi
rm -rf -- "$1"
