export WT=/work/wt/tiles3; . /tmp/tl/env.sh
/tmp/tl/m run_pics python -m unsam_cli run /tmp/tl/pics --extract-features.tile auto -o /tmp/tl/run_pics >> /tmp/tl/log
