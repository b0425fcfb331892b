"""What ``--children`` puts on the path of the children: a `sitecustomize`, and nothing else."""
