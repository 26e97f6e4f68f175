"""Asynchronous Kubernetes controller runtime: typed client, exact cache, queue, leader election, webhooks.

Import from the modules: `meta`, `crd`, `core` and `errors` do no I/O and may be used anywhere; `runtime` is
what a reconciler needs; `client`, `config`, `cache`, `clusters` and `manager` are for entry points and
adapters; `harness` is for tests.
"""
