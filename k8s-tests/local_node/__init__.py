"""A Kubernetes cluster on this machine without Docker: its programs from Go modules, the rest from Debian packages.

Each node has a process, mount and network namespace of its own, with private folders in the place of `/run`, `/var/lib`
and `/var/log`: so its programs run as they would on a machine of their own, on their usual ports, and all of it ends
with the first process of the namespace. This machine sees one link with one route to `10.<number>.0.0/16`, by which it
reaches nodes, pods and Services; one cgroup; and the cluster's folder. Nothing outside the cluster is reached from it.

    with Cluster.start(folder, nodes=1, keda=True) as cluster:
        cluster.load(archive)
        cluster.kubectl("apply", "--filename=-", content=manifest)

`python -m local_node --help` shows the same as commands.
"""
