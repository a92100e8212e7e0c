//! mod-table, dump-table-desc and the table of Geneve options: this tool and stock ovs-ofctl against the same stock switch.

#[allow(dead_code, reason = "other tests use the rest")]
mod stock_switch;

use stock_switch::Switch;

#[test]
fn tables_say_and_do_the_same() {
    let Some(switch) = Switch::start("tables") else {
        return;
    };
    for command in [
        "-O OpenFlow14 dump-table-desc br0",
        "-O OpenFlow14 mod-table br0 3 evict",
        "-O OpenFlow15 dump-table-desc br0",
        "-O OpenFlow14 mod-table br0 3 vacancy:20,80",
        "-O OpenFlow15 mod-table br0 3 noevict",
        "-O OpenFlow14 mod-table br0 3 novacancy",
        "-O OpenFlow14 mod-table br0 3 foo",
        "-O OpenFlow14 mod-table br0 x evict",
        "-O OpenFlow14 mod-table br0 3 vacancy:80,20",
        "-O OpenFlow14 mod-table br0 3 vacancy:20",
        "-O OpenFlow14 mod-table br0 ALL evict",
        "-O OpenFlow14 mod-table br0 3 controller",
        "-O OpenFlow10 mod-table br0 3 evict",
        "-O OpenFlow13 mod-table br0 3 drop",
        "-O OpenFlow11 mod-table br0 3 drop",
        "-O OpenFlow13 dump-table-desc br0",
        "mod-table br0 3",
        "--read-only -O OpenFlow14 mod-table br0 3 evict",
    ] {
        let args: Vec<&str> = command.split_whitespace().collect();
        let stock = switch.stock(&args);
        let state = || {
            switch
                .stock(&["-O", "OpenFlow14", "dump-table-desc", "br0"])
                .stdout
        };
        let after_stock = state();
        assert_eq!(switch.ours(&args), stock, "{command}");
        assert_eq!(state(), after_stock, "{command}");
    }
    // The numbers of the messages differ: this tool asks for no names.
    let refused = ["-O", "OpenFlow14", "mod-table", "br0", "254", "evict"];
    let (ours, stock) = (switch.ours(&refused), switch.stock(&refused));
    assert_eq!(ours.status, stock.status);
    for text in ["OFPTMFC_EPERM", "table_id=254, eviction=on, vacancy=off"] {
        assert!(ours.stderr.contains(text) && stock.stderr.contains(text));
    }
}

#[test]
fn options_are_mapped_the_same() {
    let Some(switch) = Switch::start("options") else {
        return;
    };
    const MAPS: &str =
        "{class=0xffff,type=0,len=4}->tun_metadata0,{class=0xffff,type=1,len=8}->tun_metadata1";
    const ONE: &str = "{class=0xffff,type=0,len=4}->tun_metadata0";
    for version in ["OpenFlow10", "OpenFlow13"] {
        let mut said = Vec::new();
        for stock in [true, false] {
            let run = |args: &[&str]| {
                let args: Vec<&str> = ["-O", version].iter().chain(args).copied().collect();
                match stock {
                    true => switch.stock(&args),
                    false => switch.ours(&args),
                }
            };
            said.push([
                run(&["add-tlv-map", "br0", MAPS]),
                run(&["add-tlv-map", "br0", ONE]),
                run(&["dump-tlv-map", "br0"]),
                run(&["del-tlv-map", "br0", ONE]),
                run(&["dump-tlv-map", "br0"]),
                run(&["del-tlv-map", "br0"]),
                run(&["dump-tlv-map", "br0"]),
            ]);
        }
        assert_eq!(said[1], said[0], "{version}");
        assert!(said[0][2].stdout.contains("tun_metadata1"), "{said:?}");
    }
}
