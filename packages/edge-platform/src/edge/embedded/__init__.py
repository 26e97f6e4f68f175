"""A real one-node Kubernetes from plain processes, with the platform installed on it (D9).

`up` builds what is missing, starts an *instance* and installs the platform through its own
charts; `down` stops it and keeps the data. An instance lives in its own network, mount, process,
host-name and control-group namespaces with its own data folder and address block, so that

* ending its first process ends everything it ever started, by construction;
* several instances on a machine never disturb each other (R17).

    up ──► tools ──► images ──► sandbox (namespaces, PID 1) ──► cluster ──► add-ons ──► install
            │          │            │                              │
         Go modules   OCI         init.py keeps components      etcd, apiserver, …, node
         built once   archives    running and reaps orphans     probed over a veth pair

Modules: `places` (folders) · `steps` (progress) · `tools`, `images`, `layers`, `ociimage`
(building) · `instance` (record, addresses) · `sandbox`, `network`, `cgroups`, `init`, `control`
(isolation) · `hostpki`, `components`, `cluster`, `addons`, `loading` (Kubernetes) · `ports`,
`forward` (the gateway on 127.0.0.1) · `existing` (installation on somebody else's cluster).
"""
