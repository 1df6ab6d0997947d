#!/bin/sh
# Installs Debian's Slurm and munge where they are missing, and starts nothing.
# Exit status 2: this machine cannot (no root, no apt-get); the sentence on stderr says why.
set -eu
for tool in slurmctld slurmd munged sbatch srun squeue scontrol; do
    command -v "$tool" >/dev/null || missing=$tool
done
[ -n "${missing:-}" ] || exit 0
[ "$(id -u)" -eq 0 ] || { echo "Slurm is not installed ($missing is missing), and installing it needs root" >&2; exit 2; }
command -v apt-get >/dev/null || { echo "Slurm is not installed ($missing is missing), and there is no apt-get" >&2; exit 2; }

export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d # says whether an installed service may start: not now
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' INT TERM
fi
apt-get -qq -o DPkg::Lock::Timeout=120 update
apt-get -qq -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confold \
    install -y --no-install-recommends slurm-wlm slurm-client munge </dev/null
