# SPDX-License-Identifier: MIT
# What `cmake --install` puts where, in two components:
#
#   programs   weftd, weft and their documents, below the prefix: a user may install these alone
#              (cmake --install build/release --prefix ~/.local --component programs)
#   service    units, user, folders and /etc/weft/weftd.conf: for the system's weftd
#
# systemd reads lib/systemd, lib/sysusers.d and lib/tmpfiles.d below /usr and below /usr/local.
# libweft itself is not installed yet.
include(GNUInstallDirs)

set(WEFT_CONFIG_DIR /etc/weft CACHE PATH "where the system's weftd reads its configuration")

install(TARGETS weftd weft-cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT programs)
install(FILES README.md CHANGELOG.md LICENSE docs/configuration.md docs/job-states.md
  docs/modules.md docs/operations.md docs/protocol.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT programs)
install(FILES conf/weftd.conf DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples COMPONENT programs)

install(FILES systemd/sysusers.d/weft.conf DESTINATION lib/sysusers.d COMPONENT service)
install(FILES systemd/tmpfiles.d/weft.conf DESTINATION lib/tmpfiles.d COMPONENT service)

# The units name /usr/bin/weftd and /etc/weft: put in what this installation has.  The prefix is
# known only when it is installed (cmake --install --prefix).
foreach(unit weftd.service weftd-strict.service weftd-multi.service weftd.socket weftd-multi.socket)
  install(CODE "
    file(READ \"${PROJECT_SOURCE_DIR}/systemd/${unit}\" text)
    string(REPLACE \"/usr/bin/\" \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/\" text \"\${text}\")
    string(REPLACE \"/etc/weft/\" \"${WEFT_CONFIG_DIR}/\" text \"\${text}\")
    file(WRITE \"${PROJECT_BINARY_DIR}/units/${unit}\" \"\${text}\")"
    COMPONENT service)
  install(FILES ${PROJECT_BINARY_DIR}/units/${unit} DESTINATION lib/systemd/system COMPONENT service)
endforeach()

# A configuration that is there already is the administrator's.
install(CODE "
  set(config \"\$ENV{DESTDIR}${WEFT_CONFIG_DIR}/weftd.conf\")
  if(EXISTS \"\${config}\")
    message(STATUS \"Kept: \${config}\")
  else()
    file(INSTALL \"${PROJECT_SOURCE_DIR}/conf/weftd.conf\" DESTINATION \"${WEFT_CONFIG_DIR}\")
  endif()"
  COMPONENT service)
