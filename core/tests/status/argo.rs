//! Argo CD's way to a health: the shipped script in a Lua 5.1 that has the base and table libraries alone.

use std::fs;
use std::path::Path;

use mlua::{Lua, LuaOptions, StdLib, Table};
use serde_json::Value;

/// What the script says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) status: String,
    pub(crate) message: String,
}

/// Runs the script on an object.
pub(crate) fn health(object: &Value) -> Health {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/daemonjob/files/argocd/health.lua");
    let script = fs::read_to_string(file).unwrap();
    let lua = Lua::new_with(StdLib::TABLE, LuaOptions::new()).unwrap();
    lua.globals().set("obj", lua_value(&lua, object)).unwrap();
    let said: Table = lua.load(script).set_name("health.lua").eval().unwrap();
    Health {
        status: said.get("status").unwrap(),
        message: said.get("message").unwrap(),
    }
}

/// As Argo CD hands objects over: numbers are numbers, lists count from 1, and null is nil, as if it were not there.
fn lua_value(lua: &Lua, value: &Value) -> mlua::Value {
    match value {
        Value::Null => mlua::Value::Nil,
        Value::Bool(truth) => mlua::Value::Boolean(*truth),
        Value::Number(number) => mlua::Value::Number(number.as_f64().unwrap()),
        Value::String(text) => mlua::Value::String(lua.create_string(text).unwrap()),
        Value::Array(items) => {
            let items = items.iter().map(|item| lua_value(lua, item));
            mlua::Value::Table(lua.create_sequence_from(items).unwrap())
        }
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(key, member)| (key.as_str(), lua_value(lua, member)));
            mlua::Value::Table(lua.create_table_from(members).unwrap())
        }
    }
}
