//! The rows of `/v3/auth`, which the console port answers, too.

use super::accounts;
use super::table::{Audit, Row};
use crate::http::v1::Right;

use Audit::As;

/// Where a refusal is a bare text.
pub(super) const LOGIN: &str = "/v3/auth/user/login";

pub(super) static ROWS: &[Row] = &[
    Row::write("POST", LOGIN, Right::AnyUser, Audit::No, accounts::log_in),
    Row::open_write("POST", "/v3/auth/user/admin", As("first_admin"), accounts::make_first),
    Row::write(
        "POST",
        "/v3/auth/user",
        Right::Administrator,
        As("user_create"),
        accounts::create_user,
    ),
    Row::write(
        "PUT",
        "/v3/auth/user",
        Right::AnyUser,
        As("user_password"),
        accounts::change_password,
    ),
    Row::write(
        "DELETE",
        "/v3/auth/user",
        Right::Administrator,
        As("user_delete"),
        accounts::delete_user,
    ),
    Row::read("GET", "/v3/auth/user/list", Right::Administrator, accounts::users),
    Row::read("GET", "/v3/auth/user/search", Right::Administrator, accounts::search_users),
    Row::write("POST", "/v3/auth/role", Right::Administrator, As("role_add"), accounts::add_role),
    Row::write(
        "DELETE",
        "/v3/auth/role",
        Right::Administrator,
        As("role_delete"),
        accounts::delete_role,
    ),
    Row::read("GET", "/v3/auth/role/list", Right::Administrator, accounts::roles),
    Row::read("GET", "/v3/auth/role/search", Right::Administrator, accounts::search_roles),
    Row::write(
        "POST",
        "/v3/auth/permission",
        Right::Administrator,
        As("permission_add"),
        accounts::add_permission,
    ),
    Row::write(
        "DELETE",
        "/v3/auth/permission",
        Right::Administrator,
        As("permission_delete"),
        accounts::delete_permission,
    ),
    Row::read("GET", "/v3/auth/permission", Right::Administrator, accounts::has_permission),
    Row::read("GET", "/v3/auth/permission/list", Right::Administrator, accounts::permissions),
];
