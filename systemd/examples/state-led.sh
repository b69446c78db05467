#!/bin/sh
# A hook of /etc/sonosweep/state.d: a green and a red LED of the kernel. $1 is the state, the faults that stand follow; the same as one line
# of JSON comes on stdin. It needs 20-led.conf (the sandbox lets nobody write below /sys) and 71-sonosweep-led.rules (the LEDs' group).
leds=${LEDS:-/sys/class/leds}
green=0 red=0 blink=none
case $1 in
    idle) green=1 ;;
    sweeping) green=1 blink=timer ;;
    saving | preparing | updating | starting) green=1 red=1 ;;
    fault | battery_empty) red=1 ;;
esac
echo "$blink" > "$leds/sonosweep:green/trigger"
[ "$blink" = timer ] || echo "$green" > "$leds/sonosweep:green/brightness"
echo "$red" > "$leds/sonosweep:red/brightness"
