# The first process of a real node's namespaces: it lays them out, says so, and holds them open.
# The kernel ends a process namespace with its first process, so whatever runs in it, containers too, ends with this.
# Mounts and network end with the last process.
set -e
folder=$1
busybox=$folder/bin/busybox

# Shared among kubelet, containerd and containers, as Kubernetes wants it, and with nobody else: unshare cut the rest off.
"$busybox" mount --make-rshared /

# Where programs of a node write to fixed places, the folder of the node is what they find.
for place in run var/lib var/log; do
  "$busybox" mkdir -p "$folder/private/$place"
  "$busybox" mount --bind "$folder/private/$place" "/$place"
done

# The kubelet sets these for the whole machine, unless they have its values: it is shown that they do.
pretend() {
  "$busybox" mkdir -p "$folder/tunables/${1%/*}"
  echo "$2" >"$folder/tunables/$1"
  "$busybox" mount --bind "$folder/tunables/$1" "/proc/sys/$1"
}
pretend vm/overcommit_memory 1
pretend vm/panic_on_oom 0
pretend kernel/panic 10
pretend kernel/panic_on_oops 1
pretend kernel/keys/root_maxkeys 1000000
pretend kernel/keys/root_maxbytes 25000000

"$busybox" ip link set lo up
shift
for address in "$@"; do
  "$busybox" ip addr add "$address/32" dev lo
done

echo ready >"$folder/ready"
# Waiting, it also takes leave of the processes that others left behind.
while :; do
  "$busybox" sleep 1000 &
  wait $!
done
