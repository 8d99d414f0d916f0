import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import NoSuchNamespaceError, OAuthError, UnauthorizedError

from tests.servers.iceberg_rest import CLIENT, TOKEN, shared_iceberg_rest


def test_catalogs_of_one_server_do_not_see_each_other(tmp_path):
    server = shared_iceberg_rest()
    one, other = (load_catalog("c", **server.properties(server.catalog())) for _ in range(2))
    one.create_namespace("bronze")
    one.create_namespace(("bronze", "shop"))
    place = f"file://{tmp_path}/orders"
    table = one.create_table(("bronze", "shop", "orders"), pa.schema([("id", pa.int64())]), location=place)
    table.append(pa.table({"id": [1, 2]}))
    found = one.load_table(("bronze", "shop", "orders"))
    assert found.scan().to_arrow().to_pydict() == {"id": [1, 2]}
    assert found.metadata_location.startswith(f"{place}/metadata/")
    with pytest.raises(NoSuchNamespaceError):
        other.list_tables(("bronze", "shop"))


def test_nobody_comes_in_without_what_is_known():
    server = shared_iceberg_rest()
    uri = server.catalog()
    assert load_catalog("c", type="rest", uri=uri, token=TOKEN).list_namespaces() == []
    with pytest.raises(UnauthorizedError):
        load_catalog("c", type="rest", uri=uri, token="another")
    with pytest.raises(OAuthError):
        load_catalog("c", **server.properties(uri, credential=f"{CLIENT}:another"))
