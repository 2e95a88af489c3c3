"""The texts of the account page."""

from dashboard.i18n import text
from dashboard.i18n.language import _, ngettext


def texts(password_min_length: int, codes_left: int) -> dict[str, str]:
    """Return the texts by their names in the template."""
    least = ngettext("At least {n} character.", "At least {n} characters.", password_min_length)
    return {
        "title": _("Your account"),
        "setup_title": _("Set up a second factor"),
        "setup": _("Your role requires a second factor. Set one up to complete the sign-in."),
        "provided": _(
            "You sign in with a single sign-on provider, which manages your password and your second factor."
        ),
        "password_title": _("Password"),
        "current": _("Current password"),
        "new": _("New password"),
        "new_hint": least,
        "change": _("Change password"),
        "ends": _("Every change here signs you out everywhere else."),
        "app_title": _("Authenticator app"),
        "app_off": _("An app on your telephone shows a new code every 30 seconds, which the sign-in asks for."),
        "app_on": _("Set up: the sign-in asks for its code."),
        "app_begin": _("Set up an app"),
        "app_scan": _("Scan this image with the app, or enter the key, then enter the code that the app shows."),
        "app_image": _("QR code with the key of the authenticator app"),
        "app_key": _("Key"),
        "app_confirm": _("Confirm"),
        "passkeys_title": _("Passkeys"),
        "passkeys": _("A passkey is kept by this device, a telephone or a security key, and needs no code."),
        "passkeys_none": _("Passkeys need a host name and TLS: open the dashboard under its name, not its address."),
        "passkey_name": _("Name of the passkey"),
        "passkey_add": _("Add a passkey"),
        "codes_title": _("Recovery codes"),
        "codes": _("Each signs you in once, when you have neither app nor passkey at hand."),
        "codes_shown": _("Store these recovery codes in a safe place now: they will not be shown again."),
        "codes_renew": _("Make new recovery codes"),
        "codes_left": _("Unused codes: {n}", n=text.count(codes_left)),
    }
