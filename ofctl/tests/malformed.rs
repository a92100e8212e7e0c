//! Malformed flows and groups: file, line, column and the word that is wrong, with the exit
//! status and on the stream of the stock tool.

use std::process::{Command, Output};

/// A flow, and the word that is wrong; empty for what is missing at the end.
const FLOWS: &[(&str, &str)] = &[
    ("foo=1,actions=drop", "foo"),
    ("tcp,foo,actions=drop", "foo"),
    ("in_port=xyz,actions=drop", "xyz"),
    ("tcp,tp_dst=99999,actions=drop", "99999"),
    ("ip,nw_src=1.2.3,actions=drop", "1.2.3"),
    ("ip,nw_src=1.2.3.4/33,actions=drop", "1.2.3.4/33"),
    ("ipv6,ipv6_src=1::2::3,actions=drop", "1::2::3"),
    ("dl_src=00:11:22,actions=drop", "00:11:22"),
    ("table=999,actions=drop", "999"),
    ("priority=70000,actions=drop", "70000"),
    ("idle_timeout=x,actions=drop", "x"),
    ("cookie=y,actions=drop", "y"),
    ("reg0=0x123456789,actions=drop", "0x123456789"),
    ("ct_state=+foo,actions=drop", "+foo"),
    ("tcp,tcp_flags=+foo,actions=drop", "+foo"),
    ("in_port=1", ""),
    ("actions=frob", "frob"),
    ("actions=output:1,frob:2", "frob"),
    ("actions=output:q", "q"),
    ("actions=write_actions(output:1,frob)", "frob"),
    ("actions=load:5->NXM_NX_REG0[0..40]", "NXM_NX_REG0[0..40]"),
    ("actions=load:5->foo[]", "foo[]"),
    ("actions=load:5", "5"),
    ("actions=set_field:5->foo", "foo"),
    ("actions=move:reg0[]->reg1[0..3]", "reg0[]->reg1[0..3]"),
    ("actions=mod_vlan_vid:5000", "5000"),
    ("actions=mod_vlan_pcp:9", "9"),
    ("actions=mod_dl_src:zz", "zz"),
    ("ip,actions=mod_nw_src:1.2", "1.2"),
    ("actions=resubmit(1,2,3)", "3"),
    ("actions=enqueue:1", "1"),
    ("actions=note:0", "0"),
    ("actions=group:x", "x"),
    ("actions=goto_table:x", "x"),
    ("actions=learn(table=x)", "x"),
    ("actions=learn(foo=1)", "foo"),
    ("actions=conjunction(1,3/2)", "3/2"),
    ("actions=controller(foo=1)", "foo"),
    ("actions=controller(reason=foo)", "foo"),
    ("actions=bundle(eth_src,0,foo,ofport,members:1)", "foo"),
    ("actions=multipath(foo,50,modulo_n,1,0,reg0[])", "foo"),
    ("actions=drop,output:1", "drop"),
    ("actions=ct(foo)", "foo"),
    ("actions=ct(nat(src=1.2.3))", "1.2.3"),
    ("actions=encap(foo)", "foo"),
    ("actions=push_vlan:0x1234", "0x1234"),
];

/// The same of groups.
const GROUPS: &[(&str, &str)] = &[
    ("group_id=1,foo=2,type=all,bucket=output:1", "foo"),
    ("group_id=x,type=all,bucket=output:1", "x"),
    ("group_id=4294967041,type=all", "4294967041"),
    ("group_id=1,type=foo,bucket=output:1", "foo"),
    ("group_id=1", ""),
    ("type=all", ""),
    (
        "group_id=1,type=all,command_bucket_id=1",
        "command_bucket_id",
    ),
    ("group_id=1,type=all,bucket=bucket_id:1,frob:2", "frob"),
    ("group_id=1,type=all,bucket=output:1,bucket=output:q", "q"),
    (
        "group_id=1,type=all,bucket=bucket_id:1,actions=output:1,frob",
        "frob",
    ),
    ("group_id=1,type=select,bucket=weight:x,output:1", "x"),
    (
        "group_id=1,type=ff,bucket=watch_port:99999,output:1",
        "99999",
    ),
    (
        "group_id=1,type=ff,bucket=watch_group:4294967295,output:1",
        "4294967295",
    ),
    (
        "group_id=1,type=all,bucket=bucket_id:4294967295,output:1",
        "4294967295",
    ),
    (
        "group_id=1,type=select,selection_method=hash,fields(ip_src,foo),bucket=output:1",
        "foo",
    ),
    (
        "group_id=1,type=select,selection_method=hash,fields(ip_src,ip_src),bucket=output:1",
        "ip_src),",
    ),
    ("group_id=1,type=all,bucket=bucket_id:1", "bucket_id"),
    (
        "group_id=1,type=indirect,bucket=output:1,bucket=output:2",
        "output:2",
    ),
];

fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).output().expect(program)
}

fn has_stock(test: &str) -> bool {
    let found = Command::new("ovs-ofctl").arg("--version").output().is_ok();
    let required = std::env::var("SLUICE_REQUIRE_ROOT").is_ok_and(|v| v == "1");
    assert!(found || !required, "ovs-ofctl is not installed");
    if !found {
        println!("skipped {test}: ovs-ofctl is not installed");
    }
    found
}

/// The column that an error names.
fn column(stderr: &str) -> Option<usize> {
    let (_, rest) = stderr.rsplit_once("(column ")?;
    rest.split_once(')')?.0.parse().ok()
}

/// What is wrong with what `text` is said to be wrong, if anything.
fn check(text: &str, word: &str, prefix: &str, args: &[&str]) -> Option<String> {
    let ours = run(env!("CARGO_BIN_EXE_ofctl"), args);
    let stock = run("ovs-ofctl", args);
    let stderr = String::from_utf8_lossy(&ours.stderr);
    let at = column(&stderr).and_then(|column| text.get(column - 1..));
    let is_right = stderr.starts_with(prefix)
        && at.is_some_and(|at| at.starts_with(word) && (!word.is_empty() || at.is_empty()))
        && ours.status.code() == stock.status.code()
        && ours.status.code() == Some(1)
        && ours.stdout == stock.stdout;
    let stock = String::from_utf8_lossy(&stock.stderr).into_owned();
    (!is_right).then(|| format!("{text}\n ours {stderr}\n stock {stock}"))
}

#[test]
fn flows() {
    if !has_stock("flows") {
        return;
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut wrong = Vec::new();
    for (n, (text, word)) in FLOWS.iter().enumerate() {
        let file = dir.path().join(n.to_string());
        std::fs::write(&file, format!("# one\nactions=drop\n{text}\n")).expect("write");
        let file = file.to_str().expect("UTF-8");
        let prefix = format!("ofctl: {file}:3: ");
        wrong.extend(check(text, word, &prefix, &["parse-flows", file]));
        wrong.extend(check(text, word, "ofctl: ", &["parse-flow", text]));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn groups() {
    if !has_stock("groups") {
        return;
    }
    let wrong: Vec<String> = GROUPS
        .iter()
        .filter_map(|(text, word)| check(text, word, "ofctl: ", &["parse-group", text]))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
