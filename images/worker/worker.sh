#!/bin/bash
# A nested worker: containerd, kubelet and kube-proxy in one privileged container (R26, R30).
#
# Mounts:  /var/lib/edge  an emptyDir (overlay file systems cannot stack on the container's own)
#          /join          ca.crt, bootstrap.kubeconfig, kube-proxy.kubeconfig
# Env:     CLUSTER_NAME   the node is called <CLUSTER_NAME>-<pod name>
#          POD_NETWORK    first address of the cluster's pod range; worker n gets its n-th /24
#          DNS_IP, DNS_DOMAIN   of the cluster
set -eu

state=/var/lib/edge
config=/run/edge
socket=/run/containerd/containerd.sock
pod=$(hostname)
node="$CLUSTER_NAME-$pod"

log() { echo "worker: $*" >&2; }

IFS=. read -r a b c _ <<<"$POD_NETWORK"
pod_cidr="$a.$b.$((c + ${pod##*-})).0/24"

mkdir -p "$config/cni" "$state/kubelet/pki" "$state/containerd" "$state/log"
# After a restart of this container no nested pod is left, so no address is taken.
rm -rf "$state/ipam"

mount --make-rshared /
echo 1 >/proc/sys/net/ipv4/ip_forward
if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
    echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
fi
# The kubelet wants these for the whole machine; it is shown files that say so, and the machine stays as it is.
for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    shown="$config/$(echo "${setting%=*}" | tr / -)"
    echo "${setting#*=}" >"$shown"
    mount --bind "$shown" "/proc/sys/${setting%=*}"
done
# cgroup v2: a group with processes of its own cannot hand controllers to groups below it.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mkdir -p /sys/fs/cgroup/worker
    xargs -rn1 </sys/fs/cgroup/cgroup.procs >/sys/fs/cgroup/worker/cgroup.procs 2>/dev/null || true
    sed -e 's/ / +/g' -e 's/^/+/' </sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control || true
fi
# Nested pods ask the host cluster's DNS for outside names, but not with its search list.
grep '^nameserver' /etc/resolv.conf >"$config/resolv.conf" || true

cat >"$config/containerd.toml" <<END
version = 3
root = "$state/containerd"
state = "/run/containerd"

[grpc]
  address = "$socket"

[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "localhost/edge/pause:v1.0.0"

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = "runc"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        BinaryName = "/usr/local/bin/runc"
        SystemdCgroup = false
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["/opt/cni/bin"]
    conf_dir = "$config/cni"
END

cat >"$config/cni/10-edge.conflist" <<END
{"cniVersion": "1.0.0", "name": "edge", "plugins": [
  {"type": "bridge", "bridge": "cni-edge", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$pod_cidr"}]], "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": "$state/ipam"}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
END

# The kubelet makes its own serving certificate; its client certificate comes by the bootstrap token.
cat >"$config/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://$socket
failCgroupV1: false
cgroupDriver: cgroupfs
failSwapOn: false
enforceNodeAllocatable: [pods]
clusterDNS: ["$DNS_IP"]
clusterDomain: $DNS_DOMAIN
maxPods: 110
oomScoreAdj: 0
registerNode: true
rotateCertificates: true
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: /join/ca.crt}
authorization: {mode: Webhook}
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
imageGCHighThresholdPercent: 99
imageGCLowThresholdPercent: 98
nodeStatusUpdateFrequency: 5s
shutdownGracePeriod: 0s
resolvConf: $config/resolv.conf
END

trap 'kill $(jobs -p) 2>/dev/null; wait; exit 0' TERM INT

containerd --config "$config/containerd.toml" --log-level warn &
until ctr -a "$socket" version >/dev/null 2>&1; do sleep 0.1; done
if [ ! -e "$state/images-loaded" ]; then
    for archive in /images/*.oci.tar; do
        ctr -a "$socket" -n k8s.io images import --local "$archive" >/dev/null
    done
    touch "$state/images-loaded"
fi
log "images are loaded"

# Waiting here, not in the kubelet: it exits when the API server does not answer yet or does not
# know the token, and each restart of a container waits longer than the one before.
if [ ! -e "$state/kubelet/kubeconfig" ]; then
    until kubectl --kubeconfig /join/bootstrap.kubeconfig --request-timeout=3s \
        auth can-i create certificatesigningrequests.certificates.k8s.io -q >/dev/null 2>&1; do
        sleep 0.3 &
        wait $!
    done
fi
log "the control plane accepts the bootstrap token; joining as $node with pods in $pod_cidr"

kubelet --config="$config/kubelet.yaml" --bootstrap-kubeconfig=/join/bootstrap.kubeconfig \
    --kubeconfig="$state/kubelet/kubeconfig" --cert-dir="$state/kubelet/pki" --root-dir="$state/kubelet" \
    --hostname-override="$node" --node-labels=scope.theriseunion.io/nested-worker=true &
kube-proxy --kubeconfig=/join/kube-proxy.kubeconfig --proxy-mode=iptables --hostname-override="$node" \
    --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0s --conntrack-tcp-timeout-close-wait=0s \
    --cluster-cidr="$pod_cidr" --bind-address=127.0.0.1 --metrics-bind-address=127.0.0.1:10249 &

# One of the three ended: end the container, so that all of them start again together.
wait -n || true
log "a part of the worker ended; the container is restarted"
exit 1
