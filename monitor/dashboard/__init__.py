"""Pages for people: what the store holds, what is wrong, and what to do about it (extra ``dashboard``).

A page is one module in :mod:`monitor.dashboard.pages` and one template of the same name: the module returns JSON
values, from which the template is rendered and which stand behind the page's address with ``.json``. It reads the
registry's and the monitor's databases; what changes anything calls the functions behind the commands.
"""
