"""How each process of the host cluster is started: an instance and a tools folder in, arguments out."""

from pathlib import Path

from edge.embedded.control import Component
from edge.embedded.instance import NODE_NAME, POD_CIDR, Instance

# Less heap for a little more processor time: seven Go processes share a developer's machine.
GOGC = "50"

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
NODE = ("containerd", "kubelet", "kube-proxy")


class Components:
    """The components of one instance, by name."""

    def __init__(self, instance: Instance, tools: Path) -> None:
        self._instance = instance
        self._tools = tools
        self._pki = instance.at("pki")

    def etcd(self) -> Component:
        i, p = self._instance, self._pki
        flags = [
            "--name=host",
            f"--data-dir={i.at('etcd')}",
            f"--listen-client-urls=https://127.0.0.1:2379,https://{i.node_ip}:2379",
            f"--advertise-client-urls=https://{i.node_ip}:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--initial-advertise-peer-urls=http://127.0.0.1:2380",
            "--initial-cluster=host=http://127.0.0.1:2380",
            "--client-cert-auth",
            f"--trusted-ca-file={p}/etcd-ca.crt",
            f"--cert-file={p}/etcd.crt",
            f"--key-file={p}/etcd.key",
            "--auto-compaction-mode=periodic",
            "--auto-compaction-retention=30m",
            "--quota-backend-bytes=4294967296",
            "--log-level=warn",
        ]
        # Only what is thrown away anyway may skip waiting for the disk.
        return self._component("etcd", flags if i.durable else [*flags, "--unsafe-no-fsync"])

    def apiserver(self) -> Component:
        i, p = self._instance, self._pki
        return self._component(
            "kube-apiserver",
            [
                f"--advertise-address={i.node_ip}",
                "--secure-port=6443",
                "--etcd-servers=https://127.0.0.1:2379",
                f"--etcd-cafile={p}/etcd-ca.crt",
                f"--etcd-certfile={p}/apiserver-etcd.crt",
                f"--etcd-keyfile={p}/apiserver-etcd.key",
                f"--client-ca-file={p}/ca.crt",
                f"--tls-cert-file={p}/apiserver.crt",
                f"--tls-private-key-file={p}/apiserver.key",
                f"--kubelet-certificate-authority={p}/ca.crt",
                f"--kubelet-client-certificate={p}/apiserver-kubelet.crt",
                f"--kubelet-client-key={p}/apiserver-kubelet.key",
                "--kubelet-preferred-address-types=InternalIP",  # the node's name resolves nowhere
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                f"--service-account-key-file={p}/sa.pub",
                f"--service-account-signing-key-file={p}/sa.key",
                f"--service-cluster-ip-range={i.service_cidr}",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--allow-privileged=true",
                "--enable-bootstrap-token-auth=true",
                f"--requestheader-client-ca-file={p}/front-proxy-ca.crt",
                "--requestheader-allowed-names=front-proxy-client",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
                "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-username-headers=X-Remote-User",
                f"--proxy-client-cert-file={p}/front-proxy.crt",
                f"--proxy-client-key-file={p}/front-proxy.key",
                "--profiling=false",
            ],
        )

    def controller_manager(self) -> Component:
        p = self._pki
        return self._controller(
            "kube-controller-manager",
            [
                f"--root-ca-file={p}/ca.crt",
                "--use-service-account-credentials=true",
                f"--service-account-private-key-file={p}/sa.key",
                f"--cluster-signing-cert-file={p}/ca.crt",
                f"--cluster-signing-key-file={p}/ca.key",
                "--controllers=*,bootstrapsigner,tokencleaner",
            ],
        )

    def scheduler(self) -> Component:
        return self._controller("kube-scheduler", [])

    def containerd(self) -> Component:
        return self._component("containerd", ["--config", str(self._instance.at("etc", "containerd.toml"))])

    def kubelet(self) -> Component:
        i = self._instance
        return self._component(
            "kubelet",
            [
                f"--config={i.at('etc', 'kubelet.yaml')}",
                f"--kubeconfig={self._pki}/kubelet.kubeconfig",
                f"--hostname-override={NODE_NAME}",
                f"--node-ip={i.node_ip}",
                f"--root-dir={i.at('kubelet')}",
            ],
        )

    def proxy(self) -> Component:
        return self._component(
            "kube-proxy",
            [
                f"--kubeconfig={self._pki}/kube-proxy.kubeconfig",
                "--proxy-mode=iptables",
                f"--hostname-override={NODE_NAME}",
                # These belong to the machine, not to a network namespace.
                "--conntrack-max-per-core=0",
                "--conntrack-tcp-timeout-established=0s",
                "--conntrack-tcp-timeout-close-wait=0s",
                f"--cluster-cidr={POD_CIDR}",
                "--bind-address=127.0.0.1",
                "--metrics-bind-address=127.0.0.1:10249",
            ],
        )

    def templates(self) -> dict[str, str]:
        """What `@NAME@` stands for in the configuration files of `files/`."""
        i = self._instance
        return {
            "DATA": str(i.folder),
            "BIN": str(self._tools),
            "PKI": str(self._pki),
            "SOCK": str(i.containerd_socket),
            "DNS_IP": i.dns_ip,
            "POD_CIDR": POD_CIDR,
        }

    def _controller(self, name: str, flags: list[str]) -> Component:
        config = f"{self._pki}/{name}.kubeconfig"
        common = [
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            "--profiling=false",
        ]
        return self._component(name, [*common, *flags])

    def _component(self, name: str, flags: list[str]) -> Component:
        program = self._program(name)
        # containerd looks for its shim on the PATH: both are built from one module.
        path = f"{program.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return Component(
            name=name,
            argv=[str(program), *flags],
            env={"PATH": path, "GOGC": GOGC, "HOME": "/root"},
            log=str(self._instance.at("logs", f"{name}.log")),
        )

    def _program(self, name: str) -> Path:
        """The file in the folder of its own key, so that another tool's change does not restart this one."""
        entry = self._tools / name
        target = entry.readlink() if entry.is_symlink() else entry
        return target if target.is_absolute() else entry
